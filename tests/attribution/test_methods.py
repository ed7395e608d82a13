"""What every attribution method has in common."""

import copy
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from attribution_preservation.attribution.method import Attribution, Method
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.weight_pruning import WeightMasks
from attribution_preservation.errors import UserError
from attribution_preservation.models.build import build
from attribution_preservation.settings import validate
from tests.models import test_gradient_mode as gradient_mode

SIZE = 32
MODES = gradient_mode.MODES | {"autocast": lambda: torch.autocast("cpu", torch.bfloat16)}
# Of every method its example, and what else can be asked of one.
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"maps": name, **method.example} for name, method in METHODS.items()},
    "grad_cam_centred": {"maps": "grad_cam", "centred": True},
    "grad_cam_positive": {"maps": "grad_cam", "positive_weights": True},
    "information_bottleneck_below": {
        "maps": "information_bottleneck", "layer": "conv3", "steps": 3, "samples": 2, "references": 6, "seed": 0,
    },
}  # fmt: skip


FAMILIES: dict[str, dict[str, Any]] = {
    "vgg": {"architecture": "vgg6_bn"},
    "hidden": {"architecture": "vgg6_bn", "hidden": (12, 8)},
    "resnet": {"architecture": "resnet8"},
}
# DeepLIFT cannot follow residual blocks: test_gradients.py.
CASES = [(family, name) for family in FAMILIES for name in SETTINGS if (family, name) != ("resnet", "deep_lift")]


def network(family: str = "vgg", dtype: torch.dtype = torch.float64):
    built = build(**FAMILIES[family], width_divisor=8, classes=3, input_size=SIZE, dropout=0.5)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for module in built.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(-0.5, 1.5, generator=generator)
        for linear in built.head.linears:
            linear.weight.normal_(0, 0.3, generator=generator)
            linear.bias.normal_(generator=generator)
    return built.to(dtype).eval()


def images(count: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


CLASSES = torch.tensor([0, 1, 2, 1])
ROWS = torch.tensor([2, 0, 2, 1])


def method(name: str, explained, dtype: torch.dtype = torch.float64):
    references, settings = images(8, dtype).flip(0), SETTINGS[name]
    if settings.get("layer") not in (None, *explained.layer_index):
        settings = settings | {"layer": explained.explained_layer}
    return Attribution(validate(TypeAdapter(Method), settings), explained, references)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_map_has_the_resolution_of_its_method(family, name):
    explained = network(family)
    maps = method(name, explained)(explained, images(), CLASSES, ROWS)
    in_pixels = METHODS[SETTINGS[name]["maps"]].resolution == "pixels"
    side = SIZE if in_pixels else explained.last_activation(images()).shape[-1]
    assert maps.shape == (4, side, side)
    assert maps.isfinite().all()
    assert maps.flatten(1).std(1).max() > 0
    assert not maps.requires_grad


@pytest.mark.parametrize(("family", "name"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_a_pairs_map_does_not_depend_on_the_others(family, name, dtype, tolerance):
    explained, batch = network(family, dtype), images(3, dtype)
    ask = method(name, explained, dtype)
    together = ask(explained, batch, CLASSES, ROWS)
    alone = torch.cat([ask(explained, batch[row][None], label[None]) for row, label in zip(ROWS, CLASSES, strict=True)])
    assert together.dtype == dtype
    error = (together - alone).flatten(1).norm(dim=1)
    assert (error <= tolerance * alone.flatten(1).norm(dim=1)).all()


@pytest.mark.parametrize(("family", "name"), CASES)
def test_the_network_and_the_images_are_left_as_they_were(family, name):
    explained, batch = network(family), images()
    before = {key: tensor.clone() for key, tensor in explained.state_dict().items()}
    method(name, explained)(explained, batch, CLASSES, ROWS)
    assert torch.equal(batch, images())
    assert not batch.requires_grad
    assert not explained.training
    assert all(torch.equal(tensor, explained.state_dict()[key]) for key, tensor in before.items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in explained.parameters())
    for module in explained.modules():
        assert not any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks))
        if arguments := _arguments(module):
            assert set(vars(module)) == set(vars(type(module)(*arguments)))


def _arguments(module):
    """What builds another of the simple layers that captum hangs its own attributes on; nothing for the others."""
    return {"ReLU": (False,), "MaxPool2d": (2,)}.get(type(module).__name__, ())


@pytest.mark.parametrize(("family", "name"), CASES)
def test_maps_are_made_where_torch_must_be_deterministic(family, name):
    explained = network(family)
    torch.set_deterministic_debug_mode("error")
    try:
        maps = method(name, explained)(explained, images(), CLASSES, ROWS)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_deterministic_debug_mode("default")
    assert torch.equal(maps, method(name, explained)(explained, images(), CLASSES, ROWS))


@pytest.mark.parametrize(("family", "name"), CASES)
@pytest.mark.parametrize("mode", MODES)
def test_maps_are_the_same_under_every_mode_of_the_caller(family, name, mode):
    dtype = torch.float32  # which autocast would lower
    explained = network(family, dtype)
    expected = method(name, explained, dtype)(explained, images(3, dtype), CLASSES, ROWS)
    with MODES[mode]():
        recording = torch.is_grad_enabled()
        # All that the caller has is made under the mode as well: the copy's weights, images, classes and references.
        for made in (explained, copy.deepcopy(explained)):
            maps = method(name, made, dtype)(made, images(3, dtype), CLASSES.clone(), ROWS.clone())
            assert torch.equal(maps, expected)
            assert maps.dtype == expected.dtype
            assert all(parameter.grad is None and parameter.requires_grad for parameter in made.parameters())
            assert not made.training
        assert torch.is_grad_enabled() == recording
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(("family", "name"), CASES)
def test_maps_do_not_depend_on_what_needs_a_gradient(family, name):
    explained = network(family)
    expected = method(name, explained)(explained, images(), CLASSES, ROWS)
    batch = images().requires_grad_()
    maps = method(name, explained.requires_grad_(False))(explained, batch, CLASSES, ROWS)
    assert torch.equal(maps, expected)
    assert not maps.requires_grad
    assert batch.grad is None
    assert not any(parameter.requires_grad for parameter in explained.parameters())


@pytest.mark.parametrize(("family", "name"), CASES)
def test_maps_do_not_depend_on_the_callers_default_type(family, name):
    explained = network(family, torch.float32)
    expected = method(name, explained, torch.float32)(explained, images(3, torch.float32), CLASSES, ROWS)
    torch.set_default_dtype(torch.float64)
    try:
        maps = method(name, explained, torch.float32)(explained, images(3, torch.float32), CLASSES, ROWS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(maps, expected)


@pytest.mark.parametrize(("family", "name"), CASES)
@pytest.mark.parametrize("layers", ["convolutions", "all"])
def test_maps_are_finite_when_every_weight_is_pruned(family, name, layers):
    explained = network(family, torch.float32)
    linears = {} if layers == "convolutions" else dict(enumerate(explained.head.linears))
    masks = WeightMasks(explained.convolutions() | {str(number): linear for number, linear in linears.items()})
    masks.grow(1.0)
    assert masks.sparsity == 1
    maps = method(name, explained, torch.float32)(explained, images(3, torch.float32), CLASSES, ROWS)
    assert maps.isfinite().all()
    # Nothing depends on the image any more: what follows its gradient is 0.
    assert name not in ("gradient_input", "integrated_gradients") or maps.eq(0).all()


@pytest.mark.parametrize(("family", "name"), CASES)
def test_no_pairs_have_no_maps(family, name):
    explained = network(family)
    none = torch.zeros(0, dtype=torch.int64)
    assert len(method(name, explained)(explained, images(), none, none)) == 0


@pytest.mark.parametrize(("family", "name"), CASES)
@pytest.mark.parametrize("classes", [torch.tensor([0, 1, 3]), torch.tensor([0, -1, 2])])
def test_a_class_out_of_range_is_a_mistake(family, name, classes):
    explained = network(family)
    with pytest.raises(ValueError, match="outside 0 to 2"):
        method(name, explained)(explained, images(), classes)


@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_question_that_does_not_fit_together_is_a_mistake(family, name):
    explained, batch = network(family), images()
    ask = method(name, explained)
    with pytest.raises(ValueError, match="3 images, but 2 classes"):
        ask(explained, batch, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="3 rows of images, but 2 classes"):
        ask(explained, batch, torch.tensor([0, 1]), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="a row is outside 0 to 2"):
        ask(explained, batch, torch.tensor([0, 1]), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="eval mode"):
        ask(explained.train(), batch, torch.tensor([0, 1, 2]))
    explained.eval()
    batch[1, 0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        ask(explained, batch, torch.tensor([0, 1, 2]))


MISTAKES = {
    "maps must be one of grad_cam, ": {"maps": "saliency"},
    "steps: field required": {"maps": "integrated_gradients"},
    "masks: unknown parameter": {"maps": "lrp", "masks": 3},
    "kept: input should be less than 1": {"maps": "rise", "masks": 9, "cells": 4, "kept": 1.0, "seed": 0},
    "0.2 stands there twice": {"maps": "extremal_perturbation", "steps": 3, "cells": 8, "areas": [0.2, 0.2]},
}


@pytest.mark.parametrize("problem", MISTAKES)
def test_a_mistake_in_the_parameters_is_one_line_without_the_schemas_own_words(problem):
    with pytest.raises(UserError) as caught:
        validate(TypeAdapter(Method), MISTAKES[problem], "attribute.methods.mine")
    message = str(caught.value)
    assert problem in message
    assert message.startswith("params.yaml: attribute.methods.mine")
    assert "(" not in message.split(problem.split(":")[0])[0]
