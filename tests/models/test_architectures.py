"""Shapes as data say what the networks that are built from them are."""

import pytest
import torch
from torch import nn

from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import kept_filters, narrowed, rate_of_each
from attribution_preservation.models.build import build
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.models.resnet_shape import residual
from attribution_preservation.models.vgg_shape import VGGShape

SMALL = residual(4, False, [(4, 1, 1), (8, 2, 2)])


def test_layers_bear_the_names_that_people_use():
    assert VGGShape((8, "M", 16, 16, "M")).layer_names == ["conv1", "pool1", "conv2", "conv3", "pool2"]
    assert SMALL.layer_names == ["layer1", "layer2"]


@pytest.mark.parametrize("architecture", list(NETWORKS))
@pytest.mark.parametrize("size", [56, 65])
def test_a_shape_says_what_a_network_of_it_is(architecture, size):
    shape = narrowed(architecture, 8)
    network = build(architecture, 8, classes=2, input_size=size, dropout=0.0).eval()
    features = network.features(torch.randn(1, 3, size, size), shape.layer_names)
    assert list(features) == shape.layer_names == list(network.layer_index)
    assert {name: feature.shape[1] for name, feature in features.items()} == shape.channels
    assert {name: feature.shape[2] for name, feature in features.items()} == shape.map_sizes(size)
    assert (network.last_layer, network.explained_layer) == (shape.last_layer, shape.explained_layer)
    widths = {name: group.convolution.out_channels for name, group in network.filter_groups()}
    assert widths == {name: shape.widths[name] for name in shape.prunable}


@pytest.mark.parametrize("architecture", list(NETWORKS))
def test_beyond_the_explained_layer_the_network_goes_on(architecture):
    network = build(architecture, 4, classes=2, input_size=32, dropout=0.0).eval()
    images = torch.randn(1, 3, 32, 32)
    activation = network.last_activation(images)
    assert activation.min() >= 0
    torch.testing.assert_close(network.logits_from_activation(activation), network(images))


@pytest.mark.parametrize("architecture", ["vgg6_bn", "resnet8"])
def test_small_architectures_end_with_a_map_of_seven(architecture):
    shape = NETWORKS[architecture].shape
    assert shape.map_sizes(56)[shape.last_layer] == 7
    assert (
        NETWORKS["vgg16_bn"].shape.map_sizes(227)["pool5"] == NETWORKS["resnet34"].shape.map_sizes(224)["layer4"] == 7
    )


@pytest.mark.parametrize("architecture", list(NETWORKS))
def test_a_divisor_divides_every_width(architecture):
    whole, half = (build(architecture, divisor, classes=2, input_size=32, dropout=0.0) for divisor in (1, 2))
    for name, convolution in whole.convolutions().items():
        assert half.convolutions()[name].out_channels * 2 == convolution.out_channels
    with pytest.raises(UserError, match=f"width_divisor: 3 does not divide every width of {architecture}"):
        narrowed(architecture, 3)


@pytest.mark.parametrize(
    ("architecture", "rates"),
    [
        ("vgg6_bn", {"conv1": 0.5, "conv4": 0.7}),
        ("vgg6_bn", {"all": 0.1, "conv1": 0.5}),
        ("resnet8", {"all": 0.3}),
        ("resnet34", {"all": 0.1, "layer4.2.conv1": 0.7}),
    ],
)
def test_what_pruning_leaves_is_known_before(architecture, rates):
    network = build(architecture, 2, classes=2, input_size=32, dropout=0.0)
    prune_channels(network, rates)
    thin = build(architecture, 2, rates, classes=2, input_size=32, dropout=0.0)
    assert {n: t.shape for n, t in network.state_dict().items()} == {n: t.shape for n, t in thin.state_dict().items()}
    assert network.structure() == thin.structure()
    for name, group in thin.filter_groups():
        whole = narrowed(architecture, 2).widths[name]
        assert group.convolution.out_channels == kept_filters(whole, rates.get(name, rates.get("all", 0.0)))


def test_all_stands_for_what_is_not_named():
    assert rate_of_each({"all": 0.1, "b": 0.5}, ["a", "b", "c"]) == {"a": 0.1, "b": 0.5, "c": 0.1}
    assert rate_of_each({"b": 0.5}, ["a", "b", "c"]) == {"b": 0.5}


@pytest.mark.parametrize("name", ["conv1", "layer1", "layer1.0.conv2", "layer2.0.downsample.0", "layer2.2.conv1"])
def test_what_enters_a_residual_sum_cannot_shrink(name):
    with pytest.raises(UserError, match=f"{name}: there is no such convolution that can shrink; there are layer1.0"):
        SMALL.thinned({name: 0.1})


def test_all_leaves_no_layer_without_filters():
    with pytest.raises(UserError, match=r"layer1\.0\.conv1: a rate of 0\.8 leaves none of its 4 filters"):
        SMALL.thinned({"all": 0.8})


@pytest.mark.parametrize(("filters", "rate", "kept"), [(64, 0.7, 19), (10, 0.9, 1), (10, 0.91, 0), (512, 0.7, 153)])
def test_kept_filters_are_counted_in_decimals(filters, rate, kept):
    assert kept_filters(filters, rate) == kept  # in binary, 10 * (1 - 0.9) is below 1


def test_wider_is_wider_in_any_layer():
    plain = VGGShape((8, "M", 16))
    assert plain.wider_than(plain) is None
    assert VGGShape((8, "M", 17)).wider_than(plain) == "conv2 has 17 channels against 16"
    assert VGGShape((8, 8, "M", 32)).wider_than(plain) == "32 channels against 16"
    assert plain.wider_than(SMALL) == "16 channels against 8"
    assert SMALL.thinned({"all": 0.5}).wider_than(SMALL) is None
    assert SMALL.wider_than(SMALL.thinned({"layer2.1.conv1": 0.5})) == "layer2.1.conv1 has 8 channels against 4"
    assert residual(5, False, [(4, 1, 1), (8, 2, 2)]).wider_than(SMALL) == "conv1 has 5 channels against 4"


@pytest.mark.parametrize(("architecture", "least"), [("resnet34", 32), ("resnet8", 8)])
def test_an_input_that_a_residual_network_would_divide_to_nothing_is_refused(architecture, least):
    assert NETWORKS[architecture].shape.map_sizes(least)[NETWORKS[architecture].shape.last_layer] == 1
    with pytest.raises(UserError, match=rf"input\.size: {least - 1} pixels are too few .* divides them by {least}"):
        build(architecture, 4, classes=2, input_size=least - 1, dropout=0.0)


@pytest.mark.parametrize("stages", [[], [(4, 1, 0)], [(4, 0, 1)]])
def test_a_residual_network_without_blocks_or_strides_is_refused(stages):
    with pytest.raises(ValueError, match="needs stages"):
        residual(4, False, stages)


def test_a_residual_networks_head_is_linear():
    network = build("resnet8", 1, classes=2, input_size=32, dropout=0.0)
    assert [type(module) for module in network.head.modules()][1:] == [nn.Linear]
    with pytest.raises(ValueError, match="no hidden layers"):
        build("resnet8", 1, classes=2, input_size=32, dropout=0.0, hidden=(4,))
