"""LRP, excitation backprop and RAP against zennit, against matrix algebra, and against conservation."""

import copy

import pytest
import torch
from torch import nn
from zennit.attribution import Gradient
from zennit.composites import LayerMapComposite, SpecialFirstLayerMapComposite
from zennit.layer import Sum
from zennit.rules import Norm, Pass, ZBox, ZPlus
from zennit.torchvision import ResNetBasicBlockCanonizer
from zennit.types import Activation, AvgPool, BatchNorm

from attribution_preservation.attribution.excitation_bp import excitation_bp_relevance
from attribution_preservation.attribution.lrp import lrp_relevance
from attribution_preservation.attribution.rap import rap, rap_relevance
from attribution_preservation.compression.weight_pruning import WeightMasks
from attribution_preservation.models.build import build
from tests.conftest import make_network

METHODS = {"lrp": lrp_relevance, "excitation_bp": excitation_bp_relevance, "rap": rap_relevance}
CLASSES = torch.tensor([0, 1, 2])


def images(size: int, count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def uneven(network: nn.Module) -> nn.Module:
    """Statistics and scales as training could leave them, some of them negative."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(-0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
        network.head.linear.weight.normal_(generator=generator)
        network.head.linear.bias.normal_(generator=generator)
    return network.double().eval()


def vgg() -> nn.Module:
    return uneven(build("vgg11_bn", 8, classes=3, input_size=64, dropout=0.5))


def resnet() -> nn.Module:
    return uneven(build("resnet34", 1, classes=3, input_size=64, dropout=0.0))


def sparse() -> nn.Module:
    network = vgg()
    masks = WeightMasks(network.convolutions())
    masks.grow(0.97)
    return network


NETWORKS = {"vgg": vgg, "resnet": resnet, "sparse": sparse}


def plain(network: nn.Module) -> nn.Module:
    """The same network of modules alone, as zennit needs it."""
    average = [] if network.head.side else [nn.AdaptiveAvgPool2d(1)]
    chain = nn.Sequential(*copy.deepcopy(network).trunk, *average, nn.Flatten(), copy.deepcopy(network.head.linear))
    for module in chain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return chain


def zennits_lrp(network: nn.Module, image: torch.Tensor, label: int, stabilizer: float) -> torch.Tensor:
    chain = plain(network)
    positive = ZPlus(zero_params="bias", stabilizer=stabilizer)
    first = ZBox(image.min(), image.max(), stabilizer=stabilizer, zero_params="bias")
    layers = [
        (Activation, Pass()), (BatchNorm, Pass()), (AvgPool, Norm(stabilizer)), (Sum, Norm(stabilizer)),
        ((nn.Conv2d, nn.Linear), positive),
    ]  # fmt: skip
    composite = SpecialFirstLayerMapComposite(layers, [(nn.Conv2d, first)], [ResNetBasicBlockCanonizer()])
    start = torch.nn.functional.one_hot(torch.tensor([label]), 3)
    with Gradient(chain, composite) as attributor:
        return attributor(image[None], lambda logits: logits.detach() * start)[1].sum(1)[0]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("dtype", "relative", "stabilizer"), [("float64", 1e-10, 1e-30), ("float32", 1e-4, 1e-30)])
def test_lrp_is_zennits(name, dtype, relative, stabilizer):
    network, batch = NETWORKS[name]().to(getattr(torch, dtype)), images(64).to(getattr(torch, dtype))
    ours = lrp_relevance(network, batch, CLASSES).maps
    theirs = torch.stack(
        [zennits_lrp(network, image, int(label), stabilizer) for image, label in zip(batch, CLASSES, strict=True)]
    )
    assert theirs.abs().max() > 0
    error = (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1).clamp(min=1e-300)
    assert error.max() < relative


@pytest.mark.parametrize("name", NETWORKS)
def test_excitation_backprop_is_zennits(name):
    network, batch = NETWORKS[name](), images(64)
    ours = excitation_bp_relevance(network, batch, CLASSES).maps
    above = network.layer_index[network.explained_layer] + 1
    chain = plain(network)[above:]
    composite = LayerMapComposite([(AvgPool, Norm(1e-30)), (nn.Linear, ZPlus(zero_params="bias", stabilizer=1e-30))])
    with Gradient(chain, composite) as attributor:
        start = torch.nn.functional.one_hot(CLASSES, 3).double()
        theirs = attributor(network.last_activation(batch).detach(), start)[1].sum(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)
    assert ours.min() >= 0
    torch.testing.assert_close(ours.sum((1, 2)), torch.ones(3, dtype=torch.float64))  # a probability


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_arrives_and_what_is_absorbed_are_what_started(name, method):
    found = METHODS[method](NETWORKS[name](), images(64), CLASSES)
    torch.testing.assert_close(found.maps.sum((1, 2)) + found.absorbed, found.start, rtol=1e-9, atol=1e-9)
    assert found.start.abs().min() > 0


def test_a_sparse_network_absorbs_relevance():
    assert lrp_relevance(sparse(), images(64), CLASSES).absorbed.abs().max() > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_filter_near_underflow_absorbs_relevance_and_breaks_nothing(method):
    network = vgg().float()
    with torch.no_grad():
        list(network.convolutions().values())[2].weight[:4] *= 1e-40
        network.head.linear.weight[0] *= 1e-40
    found = METHODS[method](network, images(64).float(), CLASSES)
    assert found.maps.isfinite().all()
    torch.testing.assert_close(found.maps.sum((1, 2)) + found.absorbed, found.start, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["lrp", "rap"])
def test_relevance_starts_with_the_logit(method):
    network, batch = vgg(), images(64)
    logits = network(batch).gather(1, CLASSES[:, None])[:, 0]
    torch.testing.assert_close(METHODS[method](network, batch, CLASSES).start, logits)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_a_batch_gives_what_its_images_give_one_by_one(name, method, dtype, tolerance):
    network, batch = NETWORKS[name]().to(getattr(torch, dtype)), images(64).to(getattr(torch, dtype))
    whole = METHODS[method](network, batch, CLASSES).maps
    single = torch.cat([METHODS[method](network, batch[k : k + 1], CLASSES[k : k + 1]).maps for k in range(3)])
    assert (whole - single).flatten(1).norm(dim=1).max() < tolerance * single.flatten(1).norm(dim=1).min()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_may_share_an_image(name, method):
    network, batch, rows = NETWORKS[name](), images(64), torch.tensor([2, 0, 2])
    shared = METHODS[method](network, batch, CLASSES, rows)
    apart = METHODS[method](network, batch[rows], CLASSES)
    for part in ("maps", "start", "absorbed"):
        torch.testing.assert_close(getattr(shared, part), getattr(apart, part))


def matrix(layer: nn.Conv2d, weight: torch.Tensor, side: int) -> torch.Tensor:
    """A convolution without bias as a dense matrix [outputs, inputs], column by column."""
    inputs = torch.eye(weight.shape[1] * side * side, dtype=weight.dtype).view(-1, weight.shape[1], side, side)
    return torch.nn.functional.conv2d(inputs, weight, None, layer.stride, layer.padding).flatten(1).T


def ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))


def raps_relevance_by_matrices(network: nn.Module, image: torch.Tensor, label: int) -> torch.Tensor:
    """RAP of one image of the toy network conv1, pool1, conv2, pool2, linear; every layer is a matrix or a loop."""
    xs, flowing = [], image[None]
    for layer in network.trunk:
        xs.append(flowing)
        flowing = layer(flowing)
    c = flowing.flatten() * network.head.linear.weight[label]
    c = c + network.head.linear.bias[label] * c.abs() / c.abs().sum()
    relevance = c.abs() / c.abs().sum() * c.sum()
    for index in (7, 4, 3, 0):
        layer, x = network.trunk[index], xs[index]
        side = x.shape[-1]
        if isinstance(layer, nn.MaxPool2d):
            handed = torch.zeros_like(x[0])
            for cell, value in enumerate(relevance):
                k, rest = divmod(cell, (side // 2) ** 2)
                i, j = (2 * v for v in divmod(rest, side // 2))
                window = x[0, k, i : i + 2, j : j + 2]
                if window.max() > 0:
                    a, b = divmod(int(window.argmax()), 2)
                    handed[k, i + a, j + b] += value
            relevance = handed.flatten()
            continue
        x = x.flatten()
        positive = matrix(layer, layer.weight.clamp(min=0), side)
        if index == 0:
            negative = matrix(layer, layer.weight.clamp(max=0), side)
            low, high = torch.full_like(x, x.min()), torch.full_like(x, x.max())
            z = (positive + negative) @ x - positive @ low - negative @ high
            s = ratio(relevance, z)
            relevance = x * ((positive + negative).T @ s) - low * (positive.T @ s) - high * (negative.T @ s)
            continue
        size = matrix(layer, (-layer.weight).clamp(min=0), side)
        up, down = positive @ x, size @ x
        found = x * (
            positive.T @ ratio(relevance.clamp(min=0), up)
            + size.T @ (ratio(relevance.clamp(max=0), down) + ratio(relevance, up + down))
        )
        some = found != 0
        found[some] -= (found.sum() - relevance.sum()) / some.sum()
        relevance = found
    return relevance.view(image.shape).sum(0)


@pytest.mark.parametrize("seed", range(4))
def test_rap_is_its_matrix_algebra(seed):
    network, batch = make_network(seed), images(8)
    theirs = torch.stack(
        [raps_relevance_by_matrices(network, image, int(label)) for image, label in zip(batch, CLASSES, strict=True)]
    ).detach()
    assert theirs.abs().max() > 0
    torch.testing.assert_close(rap_relevance(network, batch, CLASSES).maps, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(rap(network, batch, CLASSES), theirs.clamp(min=0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["lrp", "rap"])
def test_a_layer_without_a_rule_names_itself(method):
    network = vgg()
    network.trunk[2] = nn.Sigmoid()
    with pytest.raises(TypeError, match="no rule for a layer of type Sigmoid"):
        METHODS[method](network, images(64), CLASSES)
