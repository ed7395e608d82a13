"""The whole path on a profile that trains in seconds: without DVC, with it, stopped, repeated, broken on purpose."""

import hashlib
import html
import json
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.reporting.results import REFERENCES
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import BY_TWOS, ORDER, TINY, dvc, hashes, run_stage, write_parameters

STEPS = ["iteration", "epoch"]
REMOVED = ("removal_prune_weights_iterative", "removal_prune_channels_rate_70")
TRANSFERRED = ("transfer_prune_weights_iterative", "transfer_prune_channels_rate_70")


def test_every_stage_runs_without_dvc_and_says_what_it_made(finished):
    root, output = finished
    assert not (root / ".dvc").exists()
    for name in ORDER:
        assert output[name].splitlines()[-1].startswith(f"{name}: ")
    assert "| Teacher" in output["report"]  # the table itself


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_the_table_of_the_report_is_printed_in_any_encoding(finished, encoding, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished[0], root)
    notebook = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONIOENCODING": encoding}
    before = hashes(root, "reports")
    command = [sys.executable, "-m", "stages.report"]
    done = subprocess.run(command, cwd=root, env=os.environ | notebook, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == finished[1]["report"].encode(encoding, "backslashreplace")
    assert hashes(root, "reports") == before


def test_results_cover_every_network_metric_and_population(finished):
    results = pd.read_csv(finished[0] / "reports" / "results.csv", keep_default_na=False)
    localization = results[(results["metric"] == "roc_auc") & (results["attribution"] == "grad_cam")]
    covered = {
        tuple(row)
        for row in localization[["compression", "student", *STEPS, "method", "population"]].itertuples(index=False)
        if row.method not in REFERENCES
    }
    networks = {("teacher", "", "", "", "")} | {("scratch", "half", "", "", "")}
    for method in ("naive", "sswa"):
        for iteration in "123":
            networks |= {("prune_weights", "iterative", iteration, epoch, method) for epoch in "02"}
        networks |= {("prune_weights", "one_shot", "1", "1", method), ("prune_channels", "rate_70", "", "", method)}
        networks |= {("distill", "half", "", epoch, method) for epoch in "12"}
    networks |= {("prune_channels", "rate_70", "", "", method) for method in ("swa_abs", "share_0.1", "share_0.5")}
    expected = {(*network, population) for network in networks for population in ("own", "common", "all")}
    assert covered == expected - {("teacher", "", "", "", "", "common")}
    measures = results[["metric", "at"]].drop_duplicates().itertuples(index=False)
    alone = {metric for metric, at in measures if not at}
    assert alone == {
        "roc_auc", "point_accuracy", "zero_maps", "cosine", "correlation", "l2", "mean_ap", "sample_ap", "f1",
        "parameters", "nonzero_parameters", "macs", "bytes", "absorbed", "agreement", "divergence",
        "pair_divergence", "association", "insertion_area", "deletion_area",
        "untrained_floor",
    }  # fmt: skip
    expected = {
        ("least_score", "least_kept", "most_score", "most_kept"): {"0", "20", "80"},
        ("insertion_over", "deletion_under"): {"teachers_grad_cam", "other_images_grad_cam", "random"},
        ("ap_lost", "mean_ap_lost", "association_ap_lost"): {"background/40", "object/40"},
        ("untrained", "untrained_flat"): {"head", "conv1", "conv2", "conv3", "conv4", "conv5"},
        ("cka", "company", "association_company"): {"conv4", "pool3"},
        ("roar_f1", "roar_mean_ap"): {"0", "50"},
    }
    parameters = {metric: set(rows["at"]) for metric, rows in results[results["at"] != ""].groupby("metric")}
    assert parameters == {metric: values for metrics, values in expected.items() for metric in metrics}
    assert {"centre", "random", "grad_cam"} <= set(results["attribution"])
    sparsity = results[(results["student"] == "iterative") & (results["method"] == "sswa")].groupby("iteration")
    assert sparsity["sparsity"].first().astype(float).tolist() == pytest.approx([0.2, 0.36, 0.488], abs=1e-4)


def test_probes_start_from_the_network_that_was_evaluated(finished):
    root, _ = finished
    store = Store(root / "data/dataset")
    pairs = scored_pairs(store, store.part("val"), Framing(size=TINY["input.size"]))
    chosen = np.linspace(0, len(pairs) - 1, TINY["probe.removal"]["pairs"]).round().astype(int)
    logits = load_file(root / "maps/all/teacher/vgg6_bn/seed-0/network.safetensors")["logits"].double()
    expected = 100 * torch.sigmoid(logits[pairs.image[chosen], pairs.label[chosen]]).mean()
    results = pd.read_csv(root / "reports" / "results.csv")
    of_teacher = results[(results["compression"] == "teacher") & (results["population"] == "all")]
    for word in ("least", "most"):
        of_whole = of_teacher[(of_teacher["metric"] == f"{word}_score") & (of_teacher["at"] == "0")]
        assert set(of_whole["attribution"]) == {"own_grad_cam", "other_images_grad_cam", "random"}
        assert of_whole["value"].tolist() == pytest.approx([float(expected)] * 3, rel=1e-5)


def test_classifiers_are_retrained_on_what_is_left(finished):
    below = finished[0] / "roar" / "all"
    logits = {
        (*path.relative_to(below).parts[:-4], path.parts[-3]): load_file(path)["logits"].numpy().tobytes()
        for path in below.rglob("logits.safetensors")
    }
    sources = [("teacher",), ("other_images",), ("random",), ("half", "naive"), ("half", "sswa")]
    assert set(logits) == {("random", "removed-0"), *((*source, "removed-50") for source in sources)}
    # Maps of networks that have learnt so little are zero, and pixels go by the chance of the seed, as for `random`.
    assert logits["random", "removed-50"] != logits["random", "removed-0"]
    assert logits["other_images", "removed-50"] not in (logits["teacher", "removed-50"], logits["random", "removed-50"])


def test_retrained_classifiers_are_compared_with_naives(finished):
    root, _ = finished
    tests = pd.read_csv(root / "analysis" / "significance.csv")
    tests = tests[(tests["metric"] == "roar_mean_ap") & (tests["at"] == "50")].set_index("method")
    assert set(tests.index) == {"teacher", "other_images_grad_cam", "random", "sswa"}
    results = pd.read_csv(root / "reports" / "results.csv")
    results = results[(results["metric"] == "roar_mean_ap") & (results["at"] == "50")]
    (naive,) = results.loc[results["method"] == "naive", "value"]
    for order, source in (("grad_cam", "teacher"), ("other_images_grad_cam",) * 2, ("random",) * 2):
        (of_order,) = results.loc[(results["compression"] == "teacher") & (results["attribution"] == order), "value"]
        assert tests.at[source, "difference"] == pytest.approx(of_order - naive, abs=1e-6)
    assert tests["p"].isna().all()  # one seed


def test_compared_networks_alone_are_explained_by_every_method(finished):
    results = pd.read_csv(finished[0] / "reports" / "results.csv", keep_default_na=False)
    rows = results[(results["metric"] == "roc_auc") & (results["population"] == "all")]
    baselines = rows[rows["method"].isin(REFERENCES)]
    assert set(baselines["attribution"]) == set(TINY["attribute.methods"])
    rows = rows.drop(baselines.index)
    networks = rows.groupby(["compression", "student", *STEPS, "method"])["attribution"].agg(set)
    maps = set(TINY["attribute.methods"])
    compared = {
        ("teacher", "", "", "", ""),
        *(("prune_weights", "iterative", "3", "2", method) for method in ("naive", "sswa")),
        *(("prune_channels", "rate_70", "", "", method) for method in ("naive", "sswa")),
    }  # fmt: skip
    for network, methods in networks.items():
        assert methods - {"centre", "random"} == (maps if network in compared else {"grad_cam"})
    counts = rows[rows["compression"] == "teacher"].set_index("attribution")["n"].astype(int)
    assert counts["rise"] <= 3 < counts["rap"] <= 7 < counts["lrp"] == counts["grad_cam"]


def test_what_compression_buys_is_in_the_results(finished):
    results = pd.read_csv(finished[0] / "reports" / "results.csv")
    sizes = results[results["metric"].isin(["parameters", "macs", "bytes"])]
    smallest = sizes.pivot_table(index="compression", columns="metric", values="value", aggfunc="min")
    for metric in ("parameters", "macs", "bytes"):
        assert smallest.loc["prune_channels", metric] < smallest.loc["teacher", metric]
        assert smallest.loc["distill", metric] < smallest.loc["teacher", metric]
    # Zeros are stored and multiplied.
    assert smallest.loc["prune_weights", "macs"] == smallest.loc["teacher", "macs"]
    assert smallest.loc["prune_weights", "parameters"] == smallest.loc["teacher", "parameters"]


FORMS = ("md", "tex", "csv")  # of tables


def test_reports_are_complete(finished):
    reports = finished[0] / "reports"
    names = {
        *(f"{name}_{population}" for population in ("own", "common", "all")
          for name in (
              "compressions", "prune_weights_iterative", "prune_weights_iterative_origin",
              "prune_weights_iterative_repair", "distill_half",
              "distill_half_origin", "sweeps_rate_70",
          )),
        *(f"{name}_{population}" for population in ("common", "all") for name in (*TRANSFERRED, *REMOVED)),
        "prune_weights_iterative_layers", "untrained", "robustness", "roar_half",
        *(f"heatmaps_{compression}" for compression in ("prune_weights", "prune_channels", "distill", "scratch")),
    }  # fmt: skip
    assert {path.stem for path in (reports / "figures").iterdir()} == names
    # Every figure of numbers has them beside it.
    drawn = {path.stem for path in (reports / "figures").glob("*.csv")}
    assert drawn == {name for name in names if not name.startswith(("heatmaps_", "transfer_"))}
    tables = {path.name for path in (reports / "tables").iterdir()}
    assert tables == {
        f"{name}_{population}.{form}"
        for name in (
            "compressions", "prune_weights", "prune_channels", "prune_channels_variants", "distill", "scratch",
        )
        for population in ("own", "common", "all")
        for form in FORMS
    } | {
        *(f"significance_{population}.{form}" for population in ("own", "common", "all") for form in FORMS),
        *(
            f"{name}_{population}.{form}"
            for name in TRANSFERRED for population in ("common", "all") for form in ("md", "tex")
        ),
        *(f"{name}.csv" for name in TRANSFERRED),
        *(f"table_{number}.{form}" for number in (1, 2) for form in FORMS),
        *(f"faithfulness_{population}.{form}" for population in ("common", "all") for form in FORMS),
        *(f"{name}.{form}" for name in ("robustness", "roar_half") for form in FORMS),
    }  # fmt: skip
    metrics = json.loads((reports / "metrics.json").read_text())
    assert 0 <= metrics["prune_weights"]["iterative"]["sswa"]["cosine_all"]["mean"] <= 1
    assert set(metrics["prune_channels"]["rate_70"]) == {"naive", "sswa"}
    assert "mean_ap" in metrics["scratch"]["half"]


def test_the_mean_of_the_table_is_that_of_the_results(finished):
    results = pd.read_csv(finished[0] / "reports" / "results.csv")
    rows = results[
        (results["compression"] == "distill") & (results["epoch"] == 2) & (results["method"] == "sswa")
    ].set_index("metric")
    table = pd.read_csv(finished[0] / "reports" / "tables" / "compressions_all.csv")
    (row,) = table[(table["compression"] == "distill") & (table["name"] == "SSWA")].to_dict("records")
    assert row["mean_ap_mean"] == pytest.approx(rows.loc["mean_ap", "value"])
    of_all = rows[rows["population"] == "all"]
    assert row["cosine_mean"] == pytest.approx(of_all.loc["cosine", "value"])
    assert row["macs"] == rows.loc["macs", "value"]


def test_what_was_noticed_about_masks_stands_in_every_table_and_on_the_page(finished, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished[0], copy)
    index = json.loads((copy / "data/dataset/index.json").read_text())
    note = "The masks of 3 of 24 images contradict their annotations or VOC's colours"
    (copy / "data/dataset/index.json").write_text(json.dumps(index | {"notes": [note]}))
    done = run_stage(copy, "report")
    assert done.returncode == 0, done.stderr
    tables = list((copy / "reports" / "tables").glob("*.md"))
    assert tables
    assert all(f"{note}." in path.read_text() for path in tables)
    assert f"{note}." in html.unescape((copy / "reports" / "index.html").read_text())


def test_another_seed_trains_no_old_one_again(finished, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished[0], copy)
    before = {path: path.stat().st_mtime_ns for path in (copy / ".resume").rglob("*.safetensors")}
    old = hashes(copy, "models/all/teacher")
    write_parameters(copy, TINY | {"seed_groups": {"all": [0, 1]}})
    assert run_stage(copy, "teacher").returncode == 0
    after = {path: path.stat().st_mtime_ns for path in (copy / ".resume").rglob("*.safetensors")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    new = hashes(copy, "models/all/teacher")
    assert old.items() <= new.items()
    assert (
        new["models/all/teacher/vgg6_bn/seed-0/network.safetensors"]
        != new["models/all/teacher/vgg6_bn/seed-1/network.safetensors"]
    )


def test_dvc_repro_makes_the_same_files_and_then_nothing(finished, finished_by_dvc):
    root = finished_by_dvc
    folders = ("data/dataset", "models", "maps", "scores", "probes", "roar", "reports")
    assert hashes(root, *folders) == hashes(finished[0], *folders)
    assert "Data and pipelines are up to date" in dvc(root, "status").stdout
    assert "Running stage" not in dvc(root, "repro").stdout
    lock = read_yaml(root / "dvc.lock")
    assert len(lock["stages"]) == 30


def test_dvc_sees_what_a_parameter_concerns_and_a_mistake_stops_all(finished_by_dvc, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished_by_dvc, root)
    # A matching parameter concerns the students of that method alone.
    weaker = {"maps": "swa", "strength": 20.0, "dropped_share": 0.3}
    write_parameters(root, BY_TWOS | {"matching": TINY["matching"] | {"sswa": weaker}})
    stale = json.loads(dvc(root, "status", "--json").stdout)
    changed = {name for name, entry in stale.items() if "params.yaml" in str(entry)}
    of_sswa = {"prune_weights@iterative-sswa-all", "prune_weights@one_shot-sswa-all", "prune_channels@rate_70-sswa-all"}
    assert changed == {"code", "check", "figures", "distill@half-sswa-all", *of_sswa}
    # A mistake stops everything before any work.
    write_parameters(root, TINY | {"teacher.optimization.epochs": 0})
    failed = dvc(root, "repro")
    assert failed.returncode != 0
    assert "params.yaml: teacher.optimization.epochs" in failed.stderr
    assert "Running stage 'teacher" not in failed.stdout
    assert (root / "models" / "all" / "teacher" / "vgg6_bn" / "seed-0" / "network.safetensors").exists()


def test_metrics_and_plots_can_be_compared_with_a_commit(finished, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished[0], root, ignore=shutil.ignore_patterns(".resume", "models", "maps", "data"))
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    tracked = ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", "live", "reports")
    for command in (["init", "-q"], ["add", *tracked], [*identity, "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    assert dvc(root, "init", "-q").returncode == 0
    metrics = json.loads((root / "reports" / "metrics.json").read_text())
    metrics["teacher"]["vgg6_bn"]["mean_ap"]["mean"] += 1
    (root / "reports" / "metrics.json").write_text(json.dumps(metrics))
    (root / "reports" / "plots" / "prune_weights_iterative_cosine.csv").write_text("iteration,naive,sswa\n1,0.5,0.25\n")
    diff = json.loads(dvc(root, "metrics", "diff", "--json").stdout)
    assert diff["reports/metrics.json"]["teacher.vgg6_bn.mean_ap.mean"]["diff"] == pytest.approx(1)
    done = dvc(root, "plots", "diff", "HEAD")
    assert done.returncode == 0, done.stderr
    page = (root / "dvc_plots" / "index.html").read_text()
    live = list((root / "live").rglob("*.csv"))
    assert page.count("var spec = {") == 11 + len(live)
    assert "var spec = {};" not in page  # what DVC draws where a column is missing
    assert "cosine to the teacher" in page
    assert all(f"live/{path.relative_to(root / 'live')}" in page for path in live)
    for path in live:
        path.unlink()
    # Where nothing trains, the folder is there with nothing in it to draw, in the workspace as in the commit.
    for arguments in (("show",), ("diff", "HEAD")):
        done = dvc(root, "plots", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert (root / "dvc_plots" / "index.html").read_text().count("var spec = {") == 11


def test_every_plot_is_drawn_from_columns_that_a_run_leaves(finished):
    root, _ = finished
    parameters = read_yaml(root / "params.yaml")
    drawn = [next(iter(plot.values())) for plot in read_yaml(root / "dvc.yaml")["plots"][:-1]]
    names = {
        "${evaluate.methods}": parameters["evaluate"]["methods"],
        "${prune_weights.teacher}": [parameters["prune_weights"]["teacher"]],
    }
    for plot in drawn:
        (path, x), (same, y) = (*plot["x"].items(), *plot["y"].items())
        assert path == same
        assert {x, *names[y]} <= set(pd.read_csv(root / path)), path


def test_a_curve_of_training_is_the_mean_of_the_logs_of_its_runs(finished):
    root, _ = finished
    table = pd.read_csv(root / "reports" / "plots" / "training_prune_weights_iterative_mean_ap.csv")
    assert table["step"].tolist() == [1, 2, 3, 4, 5, 6]
    for method in ("naive", "sswa"):  # of the one seed
        log = pd.read_csv(root / f"models/all/prune_weights/iterative/{method}/{method}/seed-0/log.csv")
        assert table[method].tolist() == pytest.approx(log["mean_ap"].tolist())
    assert pd.read_csv(root / "reports/plots/training_prune_weights_iterative_matching.csv")["naive"].isna().all()
    assert set(pd.read_csv(root / "reports/plots/training_scratch_half_loss.csv")) == {"step", "phase", "epoch", "half"}


def test_a_voc_folder_and_its_archive_give_the_same_data_set(project, voc):
    with tarfile.open(project / "voc.tgz", "w:gz") as tar:
        tar.add(voc.root.parent, "VOCdevkit")
    checksum = "sha256:" + hashlib.sha256((project / "voc.tgz").read_bytes()).hexdigest()
    runs = []
    for root, expected in ((str(voc.root.parents[1]), None), (str(voc.root), None), ("voc.tgz", checksum)):
        source = {"data.source": "voc2012", "data.root": root, "data.checksum": expected}
        write_parameters(project, TINY | source)
        done = run_stage(project, "dataset")
        assert done.returncode == 0, done.stderr
        assert "4 images of 20 classes" in done.stdout
        runs.append(hashes(project, "data/dataset"))
    assert runs[0] == runs[1] == runs[2]
    assert list((project / "data" / "raw").iterdir()) == []


def test_switching_profiles_leaves_no_stray_outputs(finished, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished[0], copy)
    write_parameters(copy, TINY | {"prune_weights.matchings": ["sswa"]})
    done = run_stage(copy, "check")
    assert "removed models/all/prune_weights/iterative/naive" in done.stdout
    assert [p.name for p in (copy / "models/all/prune_weights/iterative").iterdir()] == ["sswa"]
    assert (copy / "maps" / "all" / "teacher").exists()
    # A profile that runs no stage of a kind leaves nothing of it.
    batches = ["teacher", "prune_weights", "prune_channels", "scratch"]
    write_parameters(copy, TINY | {"distill.students": {}, "roar.students": [], "batches": batches})
    assert "removed models/all/distill" in run_stage(copy, "check").stdout
    for name in ("roar", "analysis", "figures", "report"):
        done = run_stage(copy, name)
        assert done.returncode == 0, done.stderr
    assert not list((copy / "roar" / "all").iterdir())  # without a student there is nothing to compare
    assert not list((copy / "reports" / "tables").glob("roar*"))


def test_one_batch_of_all_networks_has_the_same_scores(finished, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(finished[0], copy)
    stages = ("teacher", "prune_weights", "prune_channels", "distill", "scratch")
    folders = {f"folders.{stage}": f"everything/{stage}" for stage in stages}
    write_parameters(copy, TINY | folders | {"batches": ["everything"]})
    for stage in stages:
        (copy / "models/all/everything").mkdir(exist_ok=True)
        (copy / "models/all" / stage).rename(copy / "models/all/everything" / stage)
    for name in ("attribute", "evaluate"):
        done = run_stage(copy, name)
        assert done.returncode == 0, done.stderr
    columns = ["compression", "student", *STEPS, "method", "seed", "attribution", "population", "metric", "at"]
    actual, expected = (
        pd.concat([pd.read_csv(root / "scores/all" / batch / "results.csv") for batch in batches])
        .sort_values(columns)
        .reset_index(drop=True)
        for root, batches in ((copy, ["everything"]), (finished[0], stages))
    )
    assert set(actual) == set(expected)
    # A column that is empty in one batch and not in another has two types.
    pd.testing.assert_frame_equal(actual, expected[actual.columns], check_dtype=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "voc2012", "root": "nowhere"}, "data.root: nowhere is neither a folder nor an archive"),
        ({"source": "voc2012", "root": "voc.tar"}, "voc.tar is truncated or no tar archive"),
        ({"source": "voc2012", "root": "voc.tar", "checksum": "md5:" + "0" * 32}, "expected 00000000"),
        ({"source": "voc2012", "root": "stages"}, "holds neither JPEGImages"),
        ({"source": "voc2012", "root": "stages", "checksum": "md5:" + "0" * 32}, "only an archive has a checksum"),
    ],
)
def test_a_source_that_is_wrong_is_one_line_and_no_output(project, changes, message):
    (project / "voc.tar").write_bytes(b"rubbish")
    write_parameters(project, TINY | {f"data.{key}": value for key, value in changes.items()})
    failed = run_stage(project, "dataset")
    assert failed.returncode == 2
    (line,) = failed.stderr.splitlines()
    assert line.startswith("dataset: error: ")
    assert message in line
    assert not (project / "data" / "dataset").exists()
    assert [p.name for p in (project / "data" / "raw").iterdir()] == []


def test_a_loss_that_is_not_finite_names_what_to_lower(project):
    # Weight decay multiplies every weight by -9999 in each of the 32 steps of an epoch.
    steep = {"learning_rate": 1000.0, "weight_decay": 10.0, "batch_size": 2}
    write_parameters(project, TINY | {f"teacher.optimization.{key}": value for key, value in steep.items()})
    for name in ("code", "check", "dataset"):
        assert run_stage(project, name).returncode == 0
    failed = run_stage(project, "teacher")
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].startswith("teacher: error: the loss is not finite")
    assert not (project / "models").exists()


def test_a_stage_before_its_inputs_says_which_comes_first(project):
    failed = run_stage(project, "teacher")
    assert failed.returncode == 2
    assert "data/check.txt is missing; run the stage that makes it first" in failed.stderr


def test_debug_shows_where_a_failure_comes_from(project):
    failed = run_stage(project, "teacher", "--debug")
    assert failed.returncode == 2
    assert "Traceback" in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("teacher: error: ")
