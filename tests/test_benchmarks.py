"""The form of a benchmark's report, and that what is timed side by side computes the same."""

import json
import subprocess

import pandas as pd
import pytest
import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.framing import Framing
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.models.network_files import save_network
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.identity import Identity
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.batches import Batches
from benchmarks import cost, readme, replicates, workload
from benchmarks.deploy import one_of_every_kind
from benchmarks.matching import METHODS, Released, matchings_of_paper
from benchmarks.measurement import Figure, Report
from benchmarks.photographs import HEIGHT, WIDTH, Photographs
from benchmarks.training import flop_per_image, network, schedule
from tests.conftest import PROJECT, make_network

FAST = Figure("step", 1.02, "ratio", "lower", 1.05)
SLOW = Figure("step", 1.07, "ratio", "lower", 1.05)


@pytest.mark.parametrize(
    ("figure", "missed"),
    [
        (FAST, False),
        (SLOW, True),
        (Figure("speed", 3.0, "ratio", "higher", 3.3), True),
        (Figure("speed", 3.5, "ratio", "higher", 3.3), False),
        (Figure("speed", 3.5, "ratio", "higher"), False),
    ],
)
def test_a_target_is_missed_on_its_wrong_side(figure, missed):
    assert figure.missed == missed
    assert ("MISSED" in Report("b", [figure]).text()) == missed


def test_the_json_has_the_agreed_keys(tmp_path):
    Report("matching", [FAST]).write(tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert set(content) == {"benchmark", "device", "versions", "date", "figures"}
    assert content["figures"] == [
        {"name": "step", "value": 1.02, "unit": "ratio", "better": "lower", "target": 1.05, "spread": None}
    ]


@pytest.mark.parametrize("maps", ["ewa", "swa"])
def test_what_is_compared_with_computes_the_same_loss_and_gradients(maps):
    # Else the ratio of their times would compare two different things. (Two draws of SSWA would differ.)
    matching = settings_of(maps, strength=50.0)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    labels = torch.rand(4, 3, dtype=torch.float64).round()
    computed = []
    for formulation in (CompressionObjective, Released):
        objective = formulation(make_network(1), make_network(2), matching)
        loss = objective(images, labels)["loss"]
        computed.append((loss, *torch.autograd.grad(loss, list(objective.student.parameters()))))
    for ours, theirs in zip(*computed, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_the_methods_that_are_timed_are_those_of_the_default_profile(monkeypatch):
    monkeypatch.chdir(PROJECT)
    assert set(METHODS) <= set(matchings_of_paper())


def test_one_network_of_every_kind_is_deployed(tmp_path):
    for iteration in (1, 2):
        identity = Identity("prune_weights", 0, "iterative", "swa", iteration, teacher="vgg")
        network = make_network(iteration).float()
        save_network(network, tmp_path / "all" / f"{iteration}.safetensors", identity.as_dict())
    for seed in (0, 1):
        save_network(
            make_network(3 + seed).float(),
            tmp_path / f"t{seed}.safetensors",
            Identity("teacher", seed, teacher="vgg").as_dict(),
        )
    deployed = one_of_every_kind(tmp_path)
    assert {name: kind.teacher for name, kind in deployed.items()} == {
        "teacher_vgg": "teacher_vgg",
        "prune_weights_iterative": "teacher_vgg",
    }
    weights = {name: kind.network.trunk[0].weight for name, kind in deployed.items()}
    assert torch.equal(weights["prune_weights_iterative"], make_network(2).float().trunk[0].weight)
    assert torch.equal(weights["teacher_vgg"], make_network(3).float().trunk[0].weight)


def test_pages_show_the_committed_results(monkeypatch):
    monkeypatch.chdir(PROJECT)
    for path, text in readme.pages().items():
        assert path.read_text() == text
        assert "| --- |" not in text
    assert "SWA: cosine" in (PROJECT / "README.md").read_text()


def test_headlines_are_those_of_the_metrics(tmp_path):
    swa = {"mean_ap": {"mean": 90.25, "deviation": 1.5}, "cosine_all": {"mean": 0.91234}}
    metrics = {"teacher": {"full": {}}, "prune_weights": {"iterative": {"sparsity": 0.972, "swa": swa}}}
    metrics |= {"scratch": {"half": {"mean_ap": {"mean": 80.0}}}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert readme.headlines(tmp_path / "metrics.json").splitlines() == [
        "| compression | SWA: cosine | SWA: mAP % |",
        "|---|---|---|",
        "| weight pruning, iterative, 97 % pruned | 0.912 | 90.2 ± 1.5 |",
    ]


def test_a_figure_that_nobody_measured_says_so(tmp_path):
    Report("matching", [Figure("vgg16_bn_swa_step_over_floor", 1.03, "ratio", "lower", 1.05)]).write(
        tmp_path / "matching-cpu.json"
    )
    lines = readme.table(tmp_path).splitlines()
    assert "| matching | vgg16 bn swa step over floor | at most 1.1 ratio (GPU) | 1.03 ratio | not measured |" in lines
    assert "| training | voc epoch | at most 5 s | not measured | not measured |" in lines
    # At toy size on a CPU nothing is asked of the steps that only a GPU can show.
    assert "| correctness | beyond their tolerance | at most 0 figures |  | not measured |" in lines


def test_the_costs_are_those_of_the_profiles_and_of_what_was_measured(monkeypatch):
    monkeypatch.chdir(PROJECT)
    assert (PROJECT / "docs" / "cost.md").read_text() == cost.text()


def test_the_committed_runs_are_compared_as_they_are(monkeypatch):
    monkeypatch.chdir(PROJECT)
    try:
        text = replicates.text()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the history is not here")
    assert (PROJECT / "docs" / "replicates.md").read_text() == text


def test_a_difference_beyond_both_deviations_is_marked_and_students_are_counted():
    # By hand: +2 and +3, deviations 0.7 and 1.4; then +1 and -1, deviations 0 and 1.4.
    first = pd.DataFrame({"naive": [1.0, 2.0], "swa": [3.0, 5.0]})
    second = pd.DataFrame({"naive": [1.0, 1.0], "swa": [2.0, 0.0]})
    assert replicates.differences([first, second], "swa", 1) == ["+2.5†", "+0.0", "3 of 4"]


def test_the_finished_networks_of_a_student_are_compared():
    rows = [
        ("prune_weights", "iterative", "naive", 0, 1, 2, "grad_cam", "common", "cosine", 0.1),
        ("prune_weights", "iterative", "naive", 0, 2, 0, "grad_cam", "common", "cosine", 0.2),
        ("prune_weights", "iterative", "naive", 0, 2, 2, "grad_cam", "common", "cosine", 0.3),
        ("prune_weights", "iterative", "naive", 0, 2, 2, "lrp", "common", "cosine", 0.4),
        ("prune_weights", "iterative", "naive", 0, 2, 2, "grad_cam", "all", "cosine", 0.5),
        ("distill", "half", "naive", 0, None, 5, "grad_cam", "common", "cosine", 0.6),
    ]
    names = ["compression", "student", "method", "seed", "iteration", "epoch"]
    names += ["attribution", "population", "metric", "value"]
    table = replicates.values(pd.DataFrame(rows, columns=names), "prune_weights", "iterative", "cosine", "common")
    assert table.to_dict() == {"naive": {0: 0.3}}


def test_hours_are_operations_by_the_rate_of_their_stage(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "RESULTS", tmp_path)
    Report("training", [Figure("toy_teacher_rate", 2.0, "GFLOP/s", "higher")]).write(tmp_path / "training-gpu.json")
    works = [workload.Work("teacher", 1, 10, 3600 * 4e9, 1, 1)]
    assert cost.hours(works, "toy", "gpu") == {"teacher": 2.0, "all": 2.0}
    assert cost.hours(works, "toy", "cpu") == {}


def test_the_floor_is_the_operations_by_the_rate_of_matrix_products(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "RESULTS", tmp_path)
    rates = [
        Figure("bf16-mixed_matrix_rate", 2.0, "TFLOP/s", "higher"),
        Figure("tf32_matrix_rate", 1.0, "TFLOP/s", "higher"),
    ]
    Report("training", rates).write(tmp_path / "training-gpu.json")
    works = [workload.Work("teacher", 1, 10, 3600 * 4e12, 1, 1), workload.Work("roar", 1, 10, 3600 * 1e12, 1, 1)]
    assert cost.floors(works, "bf16-mixed", "gpu") == {"teacher": 2.0, "roar": 0.5, "all": 2.5}
    assert cost.floors(works, "32-true", "gpu") == cost.floors(works, "bf16-mixed", "cpu") == {}


@pytest.mark.parametrize("name", cost.PROFILES)
def test_every_stage_that_trains_has_a_step_whose_rate_can_be_measured(name, monkeypatch):
    monkeypatch.chdir(PROJECT)
    profile = validate(Profile, read_yaml(PROJECT / "params" / f"{name}.yaml"))
    assert set(workload.steps(profile, name)) == {work.stage for work in workload.works(profile, name)}


def test_as_many_networks_are_counted_as_a_run_has_made(monkeypatch):
    monkeypatch.chdir(PROJECT)
    profile = validate(Profile, read_yaml(PROJECT / "params" / "digits.yaml"))
    results = pd.read_csv(PROJECT / "reports" / "results.csv", low_memory=False)
    scored = results[results["metric"] == "bytes"]
    sizes = scored.groupby("compression")["value"].agg(["count", "sum"])
    retrained = results[results["metric"].str.startswith("roar_f1")]
    for work in workload.works(profile, "digits"):
        if work.stage == "roar":
            assert work.runs == len(retrained)
        else:
            assert work.kept == sizes.loc[work.stage, "count"]
            # A file holds running statistics and a description besides.
            assert work.size == pytest.approx(sizes.loc[work.stage, "sum"], rel=0.05)


def test_the_operations_of_a_step_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    student, teacher, size = network(32).train(), network(32).eval().requires_grad_(False), 32
    images = torch.randn(1, 3, size, size).expand(2, -1, -1, -1)
    with FlopCounterMode(display=False) as counter:
        teacher(images)
        student(images).sum().backward()
    # The first convolution has no gradient to pass on.
    assert counter.get_total_flops() / 2 == pytest.approx(flop_per_image(size), rel=0.02)


def test_photographs_are_trained_on_as_any_data_set():
    photographs = Photographs(70)
    assert photographs.image(69).shape == (HEIGHT, WIDTH, 3)
    images, labels = next(Batches(photographs, Framing(size=24), schedule(8, None), 0).epoch("k"))
    assert images.shape == (8, 3, 24, 24)
    assert labels.shape == (8, 20)
