"""A number that the schema takes is one that the code below can use: every numeric field has bounds."""

import copy
import functools
import math
import operator
from typing import Annotated, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from attribution_preservation.attribution.method import MethodSettings
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.attribution.rise import random_masks
from attribution_preservation.compression.distillation import binary_distillation, exclusive_distillation
from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT

HUGE = (2**63, 2**64, 10**30, -(2**63) - 1)
# Which settings of this class a value has, its entry decides.
ENTRIES = {
    MethodSettings: list(dict.fromkeys(method.settings for method in METHODS.values())),
    MatchingSettings: list(dict.fromkeys(loss.settings for loss in LOSSES.values())),
}
CONFIG = ConfigDict(strict=True, allow_inf_nan=False)


def numbers(annotation, path=""):
    """Every place of a number below a type: its path, int or float, and the type with its bounds."""
    inner = annotation
    while get_origin(inner) is Annotated:
        inner = get_args(inner)[0]
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        for section in ENTRIES.get(inner, [inner]):
            for name, field in section.model_fields.items():
                whole = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
                yield from numbers(whole, f"{path}.{name}" if path else name)
    elif inner in (int, float):
        yield path, inner, annotation
    elif get_origin(inner) is not None:
        for argument in get_args(inner):
            if argument is not Ellipsis and not isinstance(argument, str):
                yield from numbers(argument, path)


NUMBERS = list(numbers(Profile))
WHOLE = [(path, annotation) for path, kind, annotation in NUMBERS if kind is int]
REAL = [(path, annotation) for path, kind, annotation in NUMBERS if kind is float]


def accepts(annotation, value):
    try:
        TypeAdapter(annotation, config=CONFIG).validate_python(value)
    except ValidationError:
        return False
    return True


def test_the_walk_sees_lists_mappings_choices_and_nested_sections():
    paths = {path for path, _, _ in NUMBERS}
    assert paths >= {
        "seed_groups", "runtime.workers", "data.digits.seed", "input.std", "teacher.networks.hidden", "matching.values",
        "matching.methods.strength", "matching.of.dropped_share", "prune_channels.students",
        "teacher.optimization.augmentation.crop_scale", "distill.logits.temperature", "attribute.methods.seed",
        "attribute.methods.areas", "probe.corruption.deviations", "roar.classifier.size", "figures.heatmap_rows",
    }  # fmt: skip


@pytest.mark.parametrize(("path", "annotation"), WHOLE, ids=[path for path, _ in WHOLE])
def test_no_whole_number_is_beyond_what_64_bits_and_a_machine_hold(path, annotation):
    assert not any(accepts(annotation, value) for value in HUGE)
    assert "seed" in path or not accepts(annotation, 10**10)
    assert not accepts(annotation, -1)


@pytest.mark.parametrize(("path", "annotation"), REAL, ids=[path for path, _ in REAL])
def test_no_real_number_is_beyond_what_float32_arithmetic_holds(path, annotation):
    """Where a limit is excluded because a division or a logarithm has no value there, so are its next neighbours."""
    assert not any(accepts(annotation, value) for value in (1e300, 1e30, float("inf"), float("nan"), -1e-300))
    assert accepts(annotation, 0.0) or not accepts(annotation, 1e-300)
    assert accepts(annotation, 1.0) or not accepts(annotation, math.nextafter(1, 0))


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("profile", ["digits", "imagenet-smoke"])
def test_every_number_of_a_profile_is_refused_in_one_line_where_it_is_huge(profile):
    values = read_yaml(PROJECT / "params" / f"{profile}.yaml")
    for path, value in leaves(values):
        for huge in HUGE[:3] if isinstance(value, int) else (1e300, 1e30):
            wrong = copy.deepcopy(values)
            section = wrong
            for part in path[:-1]:
                section = section[part]
            section[path[-1]] = huge
            with pytest.raises(UserError) as refused:
                validate(Profile, wrong)
            assert str(path[0]) in str(refused.value), path
            assert "\n" not in str(refused.value)


SEEDS = [annotation for path, annotation in WHOLE if path.rsplit(".", 1)[-1] in ("seed", "random_seed", "seed_groups")]


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**63 - 1])
def test_every_seed_is_one_that_torch_numpy_and_a_column_of_results_take(seed):
    assert len(SEEDS) == 11  # groups, two generated data sets, three methods, the baseline, three probes, the bootstrap
    assert all(accepts(annotation, seed) for annotation in SEEDS)
    # What is added to one: up to 1000 draws, 1000 apart, of the layers of a network.
    assert torch.Generator().manual_seed(seed + 10**6 + 100).initial_seed() == seed + 10**6 + 100
    np.random.default_rng([seed, 2, 10**6])
    assert pd.Series([seed]).astype("Int64")[0] == seed


def broken(changes, profile="digits"):
    """A profile with some values changed, by dotted key."""
    sections = read_yaml(PROJECT / "params" / f"{profile}.yaml")
    for key, value in changes.items():
        *above, last = key.split(".")
        section = sections
        for part in above:
            section = section[part]
        section[last] = value
    return sections


REFUSED = {
    "attribute.methods.rise.seed": (2**64, "attribute.methods.rise.seed: input should be less than or equal to"),
    "attribute.methods.rise.cells": (57, "attribute.methods.rise.cells: 57 cells are more than the 56 pixels"),
    "attribute.methods.meaningful_perturbation.cells": (600, "600 cells are more than the 56 pixels of input.size"),
    "attribute.methods.extremal_perturbation.cells": (57, "57 cells are more than the 56 pixels of input.size"),
    "attribute.methods.rise.kept": (1e-300, "rise.kept: should be from 0.001 to 0.999 (it is 1e-300)"),
    "attribute.methods.extremal_perturbation.areas": ([0.1, 1e-9], "areas.1: should be from 0.001 to 0.999"),
    "distill.logits.temperature": (1e-40, "distill.logits.temperature: should be from 0.01 to 1000 (it is 1e-40)"),
    "teacher.optimization.learning_rate": (1e-300, "learning_rate: should be from 1e-09 to 1000"),
    "teacher.optimization.momentum": (math.nextafter(1, 0), "momentum: should be from 0 to 0.9999"),
    "teacher.optimization.gamma": (1e-300, "gamma: should be from 1e-06 to 1"),
    "teacher.optimization.augmentation.crop_scale": ([1e-300, 1.0], "crop_scale.0: should be from 0.01 to 1"),
    "teacher.networks.vgg6_bn.dropout": (math.nextafter(1, 0), "vgg6_bn.dropout: should be from 0 to 0.99"),
    "matching.paper.methods.swa.strength": (1e300, "strength: input should be less than or equal to"),
    "matching.swa_strength.values": ([5.0, 1e300], "values"),
    "matching.sswa_share.values": ([0.5, math.nextafter(1, 0)], "leaves nothing; 0.999 is the most"),
    "prune_weights.students.iterative.rate": (1e-300, "iterative.rate: should be from 0.001 to 0.999"),
    "prune_weights.students.one_shot_90.rate": (math.nextafter(1, 0), "rate: should be from 0.001 to 0.999"),
    "prune_weights.students.iterative.iterations": (99, "99 iterations at a rate of 0.2 leave a share of 3e-10"),
    "prune_channels.students.rate_70.conv1": (1e-300, "rate_70.conv1: a rate is 0, or from 0.001 to 1"),
    "input.std": ([0.2, 1e-40, 0.2], "input.std.1: should be from 0.001 to 1 (it is 1e-40)"),
    "probe.corruption.deviations": ([16.0, 16.0000001], "16 stands there twice"),
    "probe.layers.images": (3, "greater than or equal to 4"),
    "data.digits.evaluation_images": (1, "greater than or equal to 4"),
    "runtime.workers": (10**9, "runtime.workers: more than 4096, which no machine has"),
    "analysis.resamples": (10**9, "less than or equal to 100000"),
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_number_that_the_code_cannot_use_is_refused(key):
    value, problem = REFUSED[key]
    with pytest.raises(UserError) as refused:
        validate(Profile, broken({key: value}))
    assert problem in str(refused.value)
    assert key.split(".")[0] in str(refused.value)


KEPT_VALUES = {
    "distill.logits.temperature": [0.5, 1, 20.0],
    "teacher.optimization.learning_rate": [1e-6, 1e-4, 1],
    "teacher.optimization.weight_decay": [0, 1e-5, 0.1],
    "matching.paper.methods.swa.strength": [0.0, 1e-3, 1e6],
    "attribute.methods.rise.cells": [1, 56],
    "attribute.methods.rise.masks": [8000],
    "analysis.resamples": [100, 10000],
    "prune_weights.students.iterative.rate": [0.01, 0.5],
    "teacher.networks.vgg6_bn.hidden": [[4096, 4096]],
    "runtime.workers": [0, 64],
}


@pytest.mark.parametrize("key", KEPT_VALUES)
def test_usual_values_are_taken(key):
    for value in KEPT_VALUES[key]:
        profile = validate(Profile, broken({key: value})).model_dump(by_alias=True)
        assert functools.reduce(operator.getitem, key.split("."), profile) == value


@pytest.mark.parametrize("temperature", [0.01, 1.0, 1000.0])
@pytest.mark.parametrize("divergence", [binary_distillation, exclusive_distillation])
def test_within_its_bounds_a_temperature_leaves_the_loss_and_its_gradient_their_value(divergence, temperature):
    """Of logits as trained networks give them, against the same in float64."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (5 * torch.randn(16, 10, generator=generator) for _ in range(2))

    def loss(dtype):
        ours = logits.to(dtype).requires_grad_()
        scaled = temperature**2 * divergence(ours, teacher.to(dtype), temperature)
        return scaled.item(), torch.autograd.grad(scaled, ours)[0].double()

    (value, gradient), (exact, of_exact) = loss(torch.float32), loss(torch.float64)
    assert value == pytest.approx(exact, rel=0.05)
    assert (gradient - of_exact).norm() < 1e-3 * of_exact.norm()
    assert of_exact.norm() > 1e-5


def test_within_its_bounds_a_share_leaves_masks_with_something_to_see():
    for kept in (0.001, 0.999):
        assert torch.isfinite(random_masks(16, 7, kept, 56, 0) / (16 * kept)).all()


@pytest.mark.parametrize(
    ("size", "layer", "side"), [(32, None, 2), (47, None, 2), (48, None, 0), (32, "pool5", 1), (32, "conv10", 0)]
)
def test_a_bottleneck_needs_a_map_that_can_be_blurred(size, layer, side):
    """VGG16 divides by 16 before its last max-pool, by 32 after it; the blur reaches two cells beyond the edge."""
    changes = {
        "input.size": size,
        "attribute.methods.information_bottleneck.layer": layer,
        "attribute.methods.rise.cells": 7,
        "attribute.methods.meaningful_perturbation.cells": 14,
        "attribute.methods.extremal_perturbation.cells": 14,
    }
    profile = broken(changes, "voc2012")
    profile["attribute"]["compared"]["students"] = ["iterative"]
    if side:
        with pytest.raises(UserError, match=f"information_bottleneck.layer: its map has a side of {side}; a mask of"):
            validate(Profile, profile)
    else:
        validate(Profile, profile)
