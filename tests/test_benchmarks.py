"""The form of a benchmark's report, and that what is timed side by side computes the same."""

import json

import pytest
import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.models.files import save_network
from attribution_preservation.pipeline.run.layout import Identity
from attribution_preservation.pipeline.schema.matching import Matching
from benchmarks.deploy import one_of_every_kind
from benchmarks.matching import Released
from benchmarks.report import Figure, Report
from tests.conftest import make_network

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
    matching = Matching(maps=maps, strength=50.0)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    labels = torch.rand(4, 3, dtype=torch.float64).round()
    found = []
    for formulation in (CompressionObjective, Released):
        objective = formulation(make_network(1), make_network(2), matching)
        loss = objective(images, labels)["loss"]
        found.append((loss, *torch.autograd.grad(loss, list(objective.student.parameters()))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_one_network_of_every_kind_is_deployed(tmp_path):
    for iteration in (1, 2):
        identity = Identity("prune_weights", 0, "iterative", "swa", iteration)
        network = make_network(iteration).float()
        save_network(network, tmp_path / "all" / f"{iteration}.safetensors", identity.as_dict())
    for seed in (0, 1):
        save_network(
            make_network(3 + seed).float(), tmp_path / f"t{seed}.safetensors", Identity("teacher", seed).as_dict()
        )
    found = one_of_every_kind(tmp_path)
    assert set(found) == {"teacher", "prune_weights_iterative"}
    assert torch.equal(found["prune_weights_iterative"].trunk[0].weight, make_network(2).float().trunk[0].weight)
    assert torch.equal(found["teacher"].trunk[0].weight, make_network(3).float().trunk[0].weight)
