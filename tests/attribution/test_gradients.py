"""Methods that use gradients, against captum and against completeness."""

import pytest
import torch
from captum.attr import InputXGradient, LayerGradCam, LayerGradientXActivation
from torch import nn

from attribution_preservation.attribution.activation_gradient import activation_gradient
from attribution_preservation.attribution.deep_lift import deep_lift
from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.gradient_input import gradient_input
from attribution_preservation.attribution.integrated_gradients import integrated_gradients
from attribution_preservation.models.build import build
from tests.conftest import MAKERS


@pytest.fixture(params=MAKERS)
def network(request):
    return MAKERS[request.param](0)


def explained(network):
    """The module whose output is explained."""
    return network.trunk[network.layer_index[network.explained_layer]]


def images(count=5):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


CLASSES = torch.tensor([0, 1, 2, 1, 0])


class Centred(nn.Module):
    """Logits that sum to 0 over the classes."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch):
        logits = self.network(batch)
        return logits - logits.mean(1, keepdim=True)


@pytest.mark.parametrize("centred", [False, True])
def test_grad_cam_is_captums_times_the_number_of_cells(network, centred):
    # captum averages the gradients over positions, the paper's authors sum them.
    ours = grad_cam(network, images(), CLASSES, centred=centred)
    oracle = LayerGradCam(Centred(network) if centred else network, explained(network))
    theirs = oracle.attribute(images(), target=CLASSES, relu_attributions=True)[:, 0] * ours[0].numel()
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    assert ours.shape == (5, 4, 4)
    assert ours.max() > 0


def test_a_known_activation_spares_the_trunk(network):
    with torch.no_grad():
        known = network.last_activation(images())
    nothing = torch.zeros_like(images())  # of which the trunk would make another activation
    rows = torch.tensor([4, 0, 0])
    for method in (grad_cam, activation_gradient):
        expected = method(network, images(), CLASSES[:3], rows)
        torch.testing.assert_close(method(network, nothing, CLASSES[:3], rows, activation=known), expected)


def test_positive_weights_leave_out_the_channels_that_speak_against_the_class(network):
    ours = grad_cam(network, images(), CLASSES, positive_weights=True)
    activation = network.last_activation(images()).detach().requires_grad_()
    chosen = network.logits_from_activation(activation)[torch.arange(5), CLASSES].sum()
    (gradient,) = torch.autograd.grad(chosen, activation)
    expected = torch.zeros(5, 4, 4, dtype=torch.float64)
    for pair in range(5):
        for channel in range(6):
            alpha = float(gradient[pair, channel].sum())
            if alpha > 0:
                expected[pair] += alpha * activation[pair, channel].detach()
    torch.testing.assert_close(ours, expected)
    assert not torch.allclose(ours, grad_cam(network, images(), CLASSES))


def test_activation_times_gradient_is_captums(network):
    oracle = LayerGradientXActivation(network, explained(network))
    theirs = oracle.attribute(images(), target=CLASSES).sum(1).clamp(min=0)
    torch.testing.assert_close(activation_gradient(network, images(), CLASSES), theirs, atol=1e-12, rtol=1e-10)
    assert theirs.max() > 0


def test_gradient_times_input_is_captums_also_where_pairs_share_an_image(network):
    rows = torch.tensor([3, 3, 1, 0, 3])
    theirs = InputXGradient(network).attribute(images()[rows].requires_grad_(), target=CLASSES).sum(1).detach()
    torch.testing.assert_close(gradient_input(network, images(), CLASSES, rows), theirs, atol=1e-12, rtol=1e-10)
    assert theirs.abs().max() > 0


def of_class(network, batch):
    return network(batch).gather(1, CLASSES[:, None])[:, 0]


def test_integrated_gradients_are_complete(network):
    change = of_class(network, images()) - of_class(network, torch.zeros_like(images()))
    few, many = (
        (integrated_gradients(network, images(), CLASSES, steps=steps).sum((1, 2)) - change).abs().max()
        for steps in (8, 512)
    )
    assert many < 0.01 * change.abs().max()
    assert many < few


@pytest.mark.parametrize("architecture", ["vgg6_bn", "vgg11_bn"])
@pytest.mark.parametrize("hidden", [(), (24, 16)])
def test_deep_lift_is_complete(architecture, hidden):
    network = build(architecture, 8, classes=3, input_size=32, dropout=0.5, hidden=hidden).double().eval()
    for linear in network.head.linears:
        nn.init.normal_(linear.weight, 0, 0.1)
        nn.init.normal_(linear.bias)
    batch = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    change = of_class(network, batch) - of_class(network, torch.zeros_like(batch))
    torch.testing.assert_close(deep_lift(network, batch, CLASSES).sum((1, 2)), change, atol=1e-8, rtol=1e-6)
    assert change.abs().min() > 1e-3


def test_deep_lift_names_the_layer_that_it_cannot_follow():
    network = build("resnet34", 1, classes=3, input_size=32, dropout=0.0).eval()
    with pytest.raises(TypeError, match="BasicBlock"):
        deep_lift(network, torch.zeros(1, 3, 32, 32), torch.tensor([0]))
