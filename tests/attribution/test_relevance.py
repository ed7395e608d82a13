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
from tests.conftest import make_hidden, make_network

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
        for linear in network.head.linears:
            linear.weight.normal_(generator=generator)
            linear.bias.normal_(generator=generator)
    return network.double().eval()


def vgg() -> nn.Module:
    return uneven(build("vgg11_bn", 8, classes=3, input_size=64, dropout=0.5))


def hidden() -> nn.Module:
    return uneven(build("vgg11_bn", 8, classes=3, input_size=64, dropout=0.5, hidden=(24, 16)))


def resnet() -> nn.Module:
    return uneven(build("resnet34", 2, classes=3, input_size=64, dropout=0.5))


def resnet8() -> nn.Module:
    return uneven(build("resnet8", 2, classes=3, input_size=64, dropout=0.5))


def sparse() -> nn.Module:
    network = vgg()
    masks = WeightMasks(network.convolutions())
    masks.grow(0.97)
    return network


NETWORKS = {"vgg": vgg, "hidden": hidden, "resnet": resnet, "resnet8": resnet8, "sparse": sparse}


def plain(network: nn.Module) -> nn.Module:
    """The same network of modules alone, as zennit needs it."""
    network = copy.deepcopy(network)
    average = [] if network.head.side else [nn.AdaptiveAvgPool2d(1)]
    hidden = [module for linear in network.head.linears[:-1] for module in (linear, nn.ReLU())]
    chain = nn.Sequential(*network.trunk, *average, nn.Flatten(), *hidden, network.head.linear)
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
    positive = ZPlus(zero_params="bias", stabilizer=1e-30)
    composite = LayerMapComposite([(AvgPool, Norm(1e-30)), (Activation, Pass()), (nn.Linear, positive)])
    with Gradient(chain, composite) as attributor:
        start = torch.nn.functional.one_hot(CLASSES, 3).double()
        theirs = attributor(network.last_activation(batch).detach(), start)[1].sum(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)
    assert ours.min() >= 0
    torch.testing.assert_close(ours.sum((1, 2)), torch.ones(3, dtype=torch.float64))  # a probability


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_arrives_and_what_is_absorbed_are_what_started(name, method):
    relevance = METHODS[method](NETWORKS[name](), images(64), CLASSES)
    torch.testing.assert_close(relevance.maps.sum((1, 2)) + relevance.absorbed, relevance.start, rtol=1e-9, atol=1e-9)
    assert relevance.start.abs().min() > 0


def test_a_sparse_network_absorbs_relevance():
    assert lrp_relevance(sparse(), images(64), CLASSES).absorbed.abs().max() > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["vgg", "hidden"])
def test_a_filter_near_underflow_absorbs_relevance_and_breaks_nothing(name, method):
    network = NETWORKS[name]().float()
    with torch.no_grad():
        list(network.convolutions().values())[2].weight[:4] *= 1e-40
        network.head.linears[0].weight[1] *= 1e-40
        network.head.linear.weight[0] *= 1e-40
    relevance = METHODS[method](network, images(64).float(), CLASSES)
    assert relevance.maps.isfinite().all()
    torch.testing.assert_close(relevance.maps.sum((1, 2)) + relevance.absorbed, relevance.start, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["lrp", "rap"])
@pytest.mark.parametrize("name", NETWORKS)
def test_relevance_starts_with_the_logit(name, method):
    network, batch = NETWORKS[name](), images(64)
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


def raps_hidden_rule(
    x: torch.Tensor, positive: torch.Tensor, size: torch.Tensor, relevance: torch.Tensor
) -> torch.Tensor:
    """One layer of RAP, from its inputs x and its matrices W+ and |W-|."""
    up, down = positive @ x, size @ x
    of_inputs = x * (
        positive.T @ ratio(relevance.clamp(min=0), up)
        + size.T @ (ratio(relevance.clamp(max=0), down) + ratio(relevance, up + down))
    )
    some = of_inputs != 0
    of_inputs[some] -= (of_inputs.sum() - relevance.sum()) / some.sum()
    return of_inputs


def raps_relevance_by_matrices(network: nn.Module, image: torch.Tensor, label: int) -> torch.Tensor:
    """RAP of one image of a toy network conv1, pool1, conv2, pool2, linear ones; every layer is a matrix or a loop."""
    xs, flowing = [], image[None]
    for layer in network.trunk:
        xs.append(flowing)
        flowing = layer(flowing)
    units = [flowing.flatten()]
    for linear in network.head.linears[:-1]:
        units.append((linear.weight @ units[-1] + linear.bias).clamp(min=0))
    c = units[-1] * network.head.linear.weight[label]
    c = c + network.head.linear.bias[label] * c.abs() / c.abs().sum()
    relevance = c.abs() / c.abs().sum() * c.sum()
    for linear, x in reversed(list(zip(network.head.linears[:-1], units[:-1], strict=True))):
        weight = linear.weight
        relevance = raps_hidden_rule(x, weight.clamp(min=0), (-weight).clamp(min=0), relevance)
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
        relevance = raps_hidden_rule(x, positive, matrix(layer, (-layer.weight).clamp(min=0), side), relevance)
    return relevance.view(image.shape).sum(0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [make_network, make_hidden])
def test_rap_is_its_matrix_algebra(make, seed):
    network, batch = make(seed), images(8)
    theirs = torch.stack(
        [raps_relevance_by_matrices(network, image, int(label)) for image, label in zip(batch, CLASSES, strict=True)]
    ).detach()
    assert theirs.abs().max() > 0
    torch.testing.assert_close(rap_relevance(network, batch, CLASSES).maps, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(rap(network, batch, CLASSES), theirs.clamp(min=0), rtol=1e-10, atol=1e-12)


def excitation_by_walking(network: nn.Module, image: torch.Tensor, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Marginal winning probabilities of the last map's units, unit by unit, and what was lost on the way."""
    units = [network.trunk(image[None]).flatten()]
    for linear in network.head.linears[:-1]:
        units.append((linear.weight @ units[-1] + linear.bias).clamp(min=0))
    probability, lost = torch.zeros(network.classes, dtype=image.dtype), 0.0
    probability[label] = 1
    for linear, activity in reversed(list(zip(network.head.linears, units, strict=True))):
        below = torch.zeros_like(activity)
        for i, of_unit in enumerate(probability):
            weights = activity * linear.weight[i].clamp(min=0)
            if weights.sum() == 0:
                lost = lost + of_unit
            else:
                below += weights / weights.sum() * of_unit
        probability = below
    return probability, lost


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blocked", [False, True])
def test_excitation_backprop_walks_through_hidden_layers_as_by_hand(seed, blocked):
    network, batch = make_hidden(seed), images(8)
    if blocked:  # a unit that is active by its bias alone hands nothing on
        with torch.no_grad():
            network.head.linears[0].weight[:4] = -1
            network.head.linears[0].bias[:4] = 1000
            network.head.linears[1].weight[:, :4] = 1
    relevance = excitation_bp_relevance(network, batch, CLASSES)
    with torch.no_grad():
        for image, label, one, absorbed in zip(batch, CLASSES, relevance.maps, relevance.absorbed, strict=True):
            probability, lost = excitation_by_walking(network, image, int(label))
            # The last max-pool hands each probability to a winner, so sums over windows are as they were.
            windows = one.view(2, 2, 2, 2).sum((1, 3))
            torch.testing.assert_close(windows, probability.view(6, 2, 2).sum(0), rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(absorbed, torch.as_tensor(lost, dtype=torch.float64), rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(one.sum() + absorbed, torch.ones((), dtype=torch.float64))
    assert relevance.absorbed.max() > 0.5 or not blocked


def test_a_hidden_layer_without_a_rule_names_itself():
    network = hidden()
    network.head.activations[0] = nn.Tanh()
    for method in METHODS.values():
        with pytest.raises(TypeError, match="no rule for a layer of type Tanh"):
            method(network, images(64), CLASSES)


@pytest.mark.parametrize("method", ["lrp", "rap"])
def test_a_layer_without_a_rule_names_itself(method):
    network = vgg()
    network.trunk[2] = nn.Sigmoid()
    with pytest.raises(TypeError, match="no rule for a layer of type Sigmoid"):
        METHODS[method](network, images(64), CLASSES)
