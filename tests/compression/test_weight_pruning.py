"""Magnitude pruning against torch.nn.utils.prune, and along iterations."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from attribution_preservation.compression.weight_pruning import WeightMasks, pruned_share
from attribution_preservation.metrics.size import sparsity
from attribution_preservation.models.build import build
from tests.conftest import MAKERS, make_network


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9, 0.9719])
def test_the_same_weights_go_as_in_torchs_global_pruning(network, share):
    theirs = copy.deepcopy(network)
    layers = [(module, "weight") for module in theirs.convolutions().values()]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=share)
    WeightMasks(network.convolutions()).grow(share)
    for ours, reference in zip(network.convolutions().values(), theirs.convolutions().values(), strict=True):
        assert torch.equal(ours.weight, reference.weight)


def test_sixteen_iterations_of_a_fifth_leave_under_three_percent():
    assert pruned_share(1, 0.2) == pytest.approx(0.2)
    assert pruned_share(16, 0.2) == pytest.approx(1 - 0.8**16)
    assert pruned_share(16, 0.2) == pytest.approx(0.9719, abs=1e-4)


def test_vgg16_after_sixteen_iterations_keeps_the_stated_number_of_parameters():
    network = build("vgg16_bn", 1, classes=20, input_size=227, dropout=0.5)
    convolutions = sum(m.weight.numel() for m in network.convolutions().values())
    others = sum(p.numel() for p in network.parameters()) - convolutions
    masks = WeightMasks(network.convolutions())
    masks.grow(pruned_share(16, 0.2))
    left = sum(int(mask.sum()) for mask in masks.state().values())
    assert left == convolutions - round((1 - 0.8**16) * convolutions)
    assert (left + others) / 1e6 == pytest.approx(0.93, abs=0.005)


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_one_shot_is_one_iteration_at_the_whole_rate(network, rate):
    masks = WeightMasks(network.convolutions())
    masks.grow(pruned_share(1, rate))
    assert masks.sparsity == pytest.approx(rate, abs=1 / 324)


def test_masks_only_grow_and_hold_against_the_optimiser(network):
    masks = WeightMasks(network.convolutions())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    before = masks.state()
    for iteration in range(1, 5):
        masks.grow(pruned_share(iteration, 0.2))
        for _ in range(3):
            network(torch.randn(2, 3, 8, 8, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
            masks.apply()
        for name, module in network.convolutions().items():
            assert not (masks.state()[name] & ~before[name]).any()
            assert not module.weight[~masks.state()[name]].any()
        before = masks.state()
        assert masks.sparsity == pytest.approx(pruned_share(iteration, 0.2), abs=1 / 324)
        assert sparsity(masks.state()) == masks.sparsity
        weights = torch.cat([module.weight.flatten() for module in network.convolutions().values()])
        assert (weights == 0).double().mean() == pytest.approx(masks.sparsity)


def test_only_convolution_weights_are_pruned(network):
    others = {
        name: t.clone() for name, t in network.state_dict().items() if name not in ("trunk.0.weight", "trunk.4.weight")
    }
    WeightMasks(network.convolutions()).grow(0.95)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in others.items())


@pytest.mark.parametrize("kind", MAKERS)
def test_every_convolution_is_pruned_those_beside_a_block_included(kind):
    network = MAKERS[kind](0)
    convolutions = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert ("trunk.layer2.0.downsample.0" in convolutions) == (kind == "residual")
    weights = {f"{name}.weight" for name in convolutions}
    others = {name: t.clone() for name, t in network.state_dict().items() if name not in weights}
    with torch.no_grad():
        for module in convolutions.values():
            module.weight.copy_(torch.randperm(module.weight.numel()).view_as(module.weight) + 1.0)
    masks = WeightMasks(network.convolutions())
    masks.grow(0.5)
    assert masks.state().keys() == convolutions.keys()
    magnitudes = torch.cat([module.weight.flatten() for module in convolutions.values()])
    assert (magnitudes == 0).sum() == round(len(magnitudes) / 2)
    assert all((module.weight == 0).any() for module in convolutions.values())
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in others.items())


def test_pruning_less_than_what_is_pruned_is_a_mistake(network):
    masks = WeightMasks(network.convolutions())
    masks.grow(0.5)
    with pytest.raises(ValueError, match="are pruned already"):
        masks.grow(0.4)


def test_masks_can_be_taken_up_again_on_a_new_network(network):
    masks = WeightMasks(network.convolutions())
    masks.grow(0.7)
    other = make_network(9)
    again = WeightMasks(other.convolutions())
    again.load_state(masks.state())
    assert all(torch.equal(mask, again.state()[name]) for name, mask in masks.state().items())
    for name, module in other.convolutions().items():
        assert torch.equal(module.weight != 0, masks.state()[name])
