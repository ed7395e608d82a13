"""The two networks of Tables 3 and 4 as torchvision defines them, at their full size, through everything done to them.

Weights are random. The facts are those of the small networks of every module's own tests; the oracles are torchvision's
module, torch's global pruning, the released formulation of matching, captum and zennit.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from captum.attr import LayerGradCam
from torch import nn
from torch.nn.utils import prune
from zennit.attribution import Gradient
from zennit.composites import LayerMapComposite, SpecialFirstLayerMapComposite
from zennit.layer import Sum
from zennit.rules import Norm, Pass, ZBox, ZPlus
from zennit.torchvision import ResNetBasicBlockCanonizer
from zennit.types import Activation, AvgPool, BatchNorm

from attribution_preservation.attribution.excitation_bp import excitation_bp_relevance
from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.lrp import lrp_relevance
from attribution_preservation.attribution.rap import rap_relevance
from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.compression.weight_pruning import WeightMasks
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.models.build import build
from tests.attribution.test_relevance import plain
from tests.compression.test_channel_pruning import masked
from tests.compression.test_objective import released
from tests.models import test_resnet, test_vgg

SIZE = 224
KINDS = {
    "vgg16_bn": ({"dropout": 0.5, "hidden": (4096, 4096)}, test_vgg.torchvisions),
    "resnet34": ({"dropout": 0.0}, test_resnet.torchvisions),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    """Ours and torchvision's, in eval mode, with the same weights and statistics that are not trivial."""
    torch.manual_seed(0)
    theirs = test_resnet.trained(torchvision.models.get_model(request.param, weights=None))
    options, load = KINDS[request.param]
    ours = load(build(request.param, 1, classes=1000, input_size=SIZE, **options), theirs).eval()
    return ours, theirs


def photographs(count=1, dtype=torch.float32):
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_the_pruned_network_is_torchvisions_pruned_by_torch(pair, share):
    ours, theirs = (copy.deepcopy(network) for network in pair)
    WeightMasks(ours.convolutions()).grow(share)
    layers = [(module, "weight") for module in theirs.modules() if isinstance(module, nn.Conv2d)]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=share)
    gone = sum(int((layer.weight == 0).sum()) for layer, _ in layers)
    assert gone == pytest.approx(share * sum(layer.weight.numel() for layer, _ in layers), abs=1)
    with torch.no_grad():
        torch.testing.assert_close(ours(photographs()), theirs(photographs()))


def test_the_network_without_a_tenth_of_its_filters_is_the_masked_one(pair):
    ours = copy.deepcopy(pair[0])
    expected = masked(ours, {"all": 0.1})
    widths = [layer.out_channels for layer in ours.convolutions().values()]
    prune_channels(ours, {"all": 0.1})
    assert [layer.out_channels for layer in ours.convolutions().values()] < widths
    with torch.no_grad():
        torch.testing.assert_close(ours(photographs()), expected(photographs()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("maps", ["ewa", "swa"])
def test_matching_is_that_of_the_released_formulation(pair, maps):
    teacher, student = pair[0], copy.deepcopy(pair[0]).requires_grad_()
    WeightMasks(student.convolutions()).grow(0.6)
    images, labels = photographs(2), torch.tensor([3, 998])
    objective = CompressionObjective(student, copy.deepcopy(teacher), settings_of(maps, strength=50.0)).eval()
    parts = objective(images, labels)
    gradients = torch.autograd.grad(parts["loss"], list(student.parameters()))
    top = teacher(images).argmax(1)
    logits, fs, gs = released(student, images, top, None)
    _, ft, gt = released(teacher, images, top, None)
    if maps == "ewa":
        ms, mt = fs.square().mean(1), ft.square().mean(1)
    else:
        ms, mt = ((g.sum((2, 3), keepdim=True) * f).sum(1).clamp(min=0) for g, f in ((gs, fs), (gt, ft)))
    distance = (F.normalize(ms.flatten(1)) - F.normalize(mt.flatten(1)).detach()).square().mean()
    assert distance > 0
    torch.testing.assert_close(parts["matching"], distance, rtol=1e-3, atol=1e-7)
    total = F.cross_entropy(logits, labels) + 50.0 * distance
    torch.testing.assert_close(parts["loss"], total, rtol=1e-4, atol=1e-5)
    expected = torch.autograd.grad(total, list(student.parameters()))
    for ours, theirs in zip(gradients, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


def test_grad_cam_is_captums(pair):
    ours, images, classes = pair[0], photographs(2), torch.tensor([3, 998])
    layer = ours.trunk[ours.layer_index[ours.explained_layer]]
    explained = layer if not isinstance(layer, nn.Sequential) else layer[-1]
    theirs = LayerGradCam(ours, explained).attribute(images, classes, relu_attributions=True)[:, 0].detach()
    maps = grad_cam(ours, images, classes)
    expected = theirs * maps[0].numel()  # alpha is a sum here, a mean there
    assert expected.abs().max() > 0
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_relevance_is_zennits_and_conserved(pair):
    network, image, label = copy.deepcopy(pair[0]).double(), photographs(dtype=torch.float64), torch.tensor([998])
    tiny, start = 1e-30, F.one_hot(label, 1000).double()
    norm, positive = Norm(tiny), ZPlus(zero_params="bias", stabilizer=tiny)
    layers = [
        (Activation, Pass()), (BatchNorm, Pass()), (AvgPool, norm), (Sum, norm), ((nn.Conv2d, nn.Linear), positive),
    ]  # fmt: skip
    first = [(nn.Conv2d, ZBox(image.min(), image.max(), stabilizer=tiny, zero_params="bias"))]
    composite = SpecialFirstLayerMapComposite(layers, first, [ResNetBasicBlockCanonizer()])
    with Gradient(plain(network), composite) as attributor:
        theirs = attributor(image, lambda logits: logits.detach() * start)[1].sum(1)
    ours = lrp_relevance(network, image, label)
    assert (ours.maps - theirs).norm() < 1e-10 * theirs.norm()
    above = network.layer_index[network.explained_layer] + 1
    composite = LayerMapComposite([(AvgPool, norm), (Activation, Pass()), (nn.Linear, positive)])
    with Gradient(plain(network)[above:], composite) as attributor:
        theirs = attributor(network.last_activation(image).detach(), start)[1].sum(1)
    excitation = excitation_bp_relevance(network, image, label)
    torch.testing.assert_close(excitation.maps, theirs, rtol=1e-9, atol=1e-14)
    for relevance in (ours, excitation, rap_relevance(network, image, label)):
        assert relevance.maps.abs().max() > 0
        torch.testing.assert_close(
            relevance.maps.sum((1, 2)) + relevance.absorbed, relevance.start, rtol=1e-8, atol=1e-9
        )
