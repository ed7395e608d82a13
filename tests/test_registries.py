"""Lists that are kept by hand name what exists: a new method, loss, network or stage fails where a list lacks it."""

import inspect
import re
from typing import get_args

import pytest
import torch

from attribution_preservation.attribution import extraction
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.attribution.relevance import Relevance
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.matching import loss, variants
from attribution_preservation.matching.rectifier import RECTIFIERS, RectifierName
from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.models.architecture import Architecture, narrowed
from attribution_preservation.reporting import (
    deformation_table,
    paired_tests,
    preservation_table,
    results,
    summary,
    sweeps,
    transfer,
)
from attribution_preservation.reporting.curves import ORIGIN, PLOTTED
from attribution_preservation.reporting.panels import SCORES
from attribution_preservation.storage.yaml_text import read_yaml
from benchmarks.__main__ import NAMES as BENCHMARKS
from stages.figures import POPULATIONS
from tests.attribution import test_methods, test_relevance
from tests.conftest import MAKERS, ORDER, PROJECT, make_network
from tests.models import test_network_files
from tests.stages.test_audit import TRAINING
from tests.training import joint_gradients

STAGES = read_yaml(PROJECT / "dvc.yaml")["stages"]
PROFILES = [read_yaml(path) for path in sorted((PROJECT / "params").glob("*.yaml"))]


def looking_at_probabilities():
    return {name for name, method in METHODS.items() if ".sigmoid()" in inspect.getsource(method.explain)}


def handing_down_relevance():
    return {name for name, method in METHODS.items() if method.needs == "relevance rules"}


def starting_with_the_logit():
    network, images, classes = make_network(0), torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1])
    logits = network(images).gather(1, classes[:, None])[:, 0]
    walks = {name: METHODS[name].explain(network, images, classes) for name in handing_down_relevance()}
    assert all(isinstance(walk, Relevance) for walk in walks.values())
    return {name for name, walk in walks.items() if torch.allclose(walk.start, logits)}


KEPT_BY_HAND = {
    "attribution: conservation tests": (set(test_relevance.METHODS), handing_down_relevance()),
    "attribution: of probabilities": (
        {name for name, method in METHODS.items() if method.of_probability},
        looking_at_probabilities(),
    ),
    "attribution: from the logit": (set(transfer._FROM_THE_LOGIT), starting_with_the_logit()),
    "attribution: reserved names": (set(extraction._TAKEN), {"logits", "asked", *results.BASELINES}),
    "matching: rectifiers": (set(RECTIFIERS), set(get_args(RectifierName))),
    "matching: rectifiers in the schema": (
        set(get_args(loss.Gradient.model_fields["rectifier"].annotation)),
        set(RECTIFIERS),
    ),
    "matching: axes of sweeps": (
        set(sweeps._X_LABELS),
        set(get_args(variants.MatchingSweep.model_fields["sweep"].annotation)),
    ),
    "networks: contract tests": (
        {type(narrowed(entry["architecture"], 1)) for entry in test_methods.FAMILIES.values()},
        set(Architecture.__subclasses__()),
    ),
    "networks: toys": (
        {type(make(0)) for make in MAKERS.values()},
        {type(make()) for make in test_network_files.NETWORKS.values()},
    ),
    "stages: order": (set(ORDER), set(STAGES)),
    "stages: training": (
        set(TRAINING),
        {name for name, stage in STAGES.items() if any("models/" in str(out) for out in stage["outs"])},
    ),
    "stages: compressions": ({"teacher", *COMPRESSIONS}, set(TRAINING)),
    "populations: several classes": (set(results._SEVERAL), set(POPULATIONS)),
    "populations: one class": (set(results._EXCLUSIVE), set(POPULATIONS)),
    "benchmarks": (
        set(BENCHMARKS),
        {
            path.stem
            for path in (PROJECT / "benchmarks").glob("*.py")
            if "\ndef measure(" in path.read_text(encoding="utf-8")
        },
    ),
}
# These may hold more than what they have to name.
INCLUDED = {
    "attribution methods of the tables": (deformation_table.ATTRIBUTIONS, METHODS),
    "metrics of reports": (
        {
            *summary.METRICS,
            *summary.SIZES,
            *paired_tests.METRICS,
            *transfer.METRICS,
            *SCORES,
            *ORIGIN,
            *PLOTTED,
            *preservation_table.METRICS,
            *(metric for metric, _ in results.HEADLINES),
        },
        {*CATALOGUE, preservation_table._L2_PUBLISHED},
    ),
    "documented stages": (STAGES, set(re.findall(r"^\| (\w+) \|", (PROJECT / "README.md").read_text("utf-8"), re.M))),
    "hidden layers of joint gradients": (joint_gradients.HIDDEN, joint_gradients.METHODS),
    "sources with a profile": (
        set(SOURCES),
        {values["data"]["source"] for values in PROFILES},
    ),
}


@pytest.mark.parametrize("kept", KEPT_BY_HAND)
def test_a_list_that_is_kept_by_hand_names_what_exists(kept):
    by_hand, existing = KEPT_BY_HAND[kept]
    assert by_hand == existing


@pytest.mark.parametrize("kept", INCLUDED)
def test_a_list_leaves_nothing_out(kept):
    needed, by_hand = INCLUDED[kept]
    assert set(needed) - set(by_hand) == set()
