"""Removed filters: which, how many, and that nothing else changes."""

import copy

import pytest
import torch
import torch_pruning
from torch import nn

from attribution_preservation.compression.channel_pruning import kept_by_norm, prune_channels
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.size import parameters
from attribution_preservation.models.build import build
from attribution_preservation.models.vgg import VGG
from tests.conftest import make_network

VGG16_RATES = {"conv1": 0.7} | {f"conv{number}": 0.7 for number in range(8, 14)}


def test_vgg16_at_the_published_rates_has_the_published_size():
    network = build("vgg16_bn", 1, classes=20, input_size=227, dropout=0.5)
    prune_channels(network, VGG16_RATES)
    assert parameters(network) == 3_269_153
    assert round(parameters(network) / 1e6, 2) == 3.27  # Tables 1 and 2
    assert network.layers == build("vgg16_bn", 1, VGG16_RATES, classes=20, input_size=227, dropout=0.5).layers


def uneven(network):
    """Statistics and biases that are not trivial, so that a mistake in their order shows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for linear in network.head.linears:
        nn.init.normal_(linear.weight)
    return network.eval()


class Masked(nn.Module):
    """A normalisation followed by ReLU, with some channels set to 0: the network before removal."""

    def __init__(self, normalization, kept):
        super().__init__()
        self.normalization = normalization
        self.register_buffer("mask", torch.zeros(normalization.num_features))
        self.mask[kept] = 1

    def forward(self, x):
        return torch.relu(self.normalization(x)) * self.mask[:, None, None]


def masked(network, rates):
    network = copy.deepcopy(network)
    for name, group in network.filter_groups():
        kept = kept_by_norm(group.convolution.weight, rates.get(name, rates.get("all", 0.0)))
        for parent in list(network.modules()):
            for child, module in list(parent.named_children()):
                if module is group.normalization:
                    setattr(parent, child, Masked(module, kept))
    return network


def networks():
    yield "toy", uneven(make_network(0).float()), {"conv1": 0.5, "conv2": 0.4}, 8
    vgg = build("vgg16_bn", 8, classes=20, input_size=64, dropout=0.5)
    yield "vgg16", uneven(vgg), VGG16_RATES, 64
    hidden = build("vgg16_bn", 8, classes=20, input_size=64, dropout=0.5, hidden=(24, 16))
    yield "hidden", uneven(hidden), VGG16_RATES, 64
    resnet = uneven(build("resnet34", 1, classes=7, input_size=64, dropout=0.0))
    yield "resnet34", resnet, {"all": 0.1, "layer4.2.conv1": 0.7}, 64
    resnet = uneven(build("resnet8", 1, classes=7, input_size=56, dropout=0.5))
    yield "resnet8", resnet, {"all": 0.3}, 56


@pytest.mark.parametrize(("name", "network", "rates", "size"), list(networks()), ids=lambda value: str(value)[:9])
def test_the_removed_network_computes_what_the_masked_one_computed(name, network, rates, size):
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        before = network(images)
        expected = masked(network, rates)(images)
        smaller = copy.deepcopy(network)
        prune_channels(smaller, rates)
        actual = smaller(images)
    scale = expected.abs().max()
    torch.testing.assert_close(actual / scale, expected / scale, atol=1e-5, rtol=0)
    assert (before - expected).abs().max() / scale > 1e-3  # something was removed
    assert parameters(smaller) < parameters(network)


def test_only_the_first_convolution_of_a_residual_block_shrinks():
    network = build("resnet34", 1, classes=7, input_size=64, dropout=0.0)
    prune_channels(network, {"all": 0.1})
    widths = [group.convolution.out_channels for _, group in network.filter_groups()]
    assert widths == [57] * 3 + [115] * 4 + [230] * 6 + [460] * 3  # floor(64 * 0.9), floor(128 * 0.9), ...
    for stage, width in (("layer1", 64), ("layer4", 512)):
        for block in network.trunk.get_submodule(stage):
            assert block.conv2.out_channels == width


CHAIN = (10, "M", 12, "M", 9, "M")
OF_TORCH_PRUNING = {
    "linear": lambda: VGG(CHAIN, classes=3, input_size=16, dropout=0.0),
    "hidden": lambda: VGG(CHAIN, classes=3, input_size=16, dropout=0.0, hidden=(8, 6)),
    "residual": lambda: build("resnet8", 1, classes=3, input_size=16, dropout=0.0),
}


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("kind", OF_TORCH_PRUNING)
def test_the_same_filters_go_as_in_torch_pruning(kind, rate):
    network = uneven(OF_TORCH_PRUNING[kind]())
    theirs = copy.deepcopy(network)
    importance = torch_pruning.importance.MagnitudeImportance(
        p=1, group_reduction="first", normalizer=None, target_types=[nn.Conv2d]
    )
    graph = torch_pruning.DependencyGraph().build_dependency(theirs, torch.randn(1, 3, 16, 16))
    remove = torch_pruning.prune_conv_out_channels
    gone = {}
    for convolution in (group.convolution for _, group in theirs.filter_groups()):
        scores = importance(graph.get_pruning_group(convolution, remove, list(range(convolution.out_channels))))
        count = convolution.out_channels - len(kept_by_norm(convolution.weight, rate))
        gone[convolution] = torch.argsort(scores)[:count].tolist()
        ours = set(range(convolution.out_channels)) - set(kept_by_norm(convolution.weight, rate).tolist())
        assert set(gone[convolution]) == ours
    for convolution, filters in gone.items():
        graph.get_pruning_group(convolution, remove, filters).prune()
    prune_channels(network, {"all": rate})
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = theirs(images)
    torch.testing.assert_close(network(images), expected, atol=1e-6 * float(expected.abs().max()), rtol=1e-5)


def test_which_filters_stay_worked_by_hand():
    weight = torch.zeros(5, 1, 1, 2)
    weight[:, 0, 0, 0] = torch.tensor([3.0, -1.0, 2.0, 1.0, -4.0])
    assert kept_by_norm(weight, 0.4).tolist() == [0, 2, 4]
    assert kept_by_norm(weight, 0.2).tolist() == [0, 2, 3, 4]  # of the equal filters 1 and 3 the earlier goes
    assert kept_by_norm(weight, 0.0).tolist() == [0, 1, 2, 3, 4]


def test_a_layer_without_filters_is_refused_before_anything_changes(network):
    before = network.structure()
    with pytest.raises(UserError, match=r"conv2: a rate of 0\.9 leaves none of its filters"):
        prune_channels(network, {"conv1": 0.5, "conv2": 0.9})
    with pytest.raises(UserError, match="conv7: no filters can be removed there; there are conv1, conv2"):
        prune_channels(network, {"conv7": 0.5})
    with pytest.raises(UserError, match=r"conv1: a rate of 1\.0 leaves none of its filters"):
        prune_channels(network, {"all": 1.0, "conv2": 0.5})
    with pytest.raises(UserError, match=r"conv1: a rate is a share from 0 to 1, not 1\.5"):
        prune_channels(network, {"conv1": 1.5})
    assert network.structure() == before
