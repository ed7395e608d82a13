"""Residual networks against torchvision's."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from attribution_preservation.metrics.size import parameters
from attribution_preservation.models.build import build
from attribution_preservation.models.resnet import ResNet
from attribution_preservation.models.resnet_shape import residual


def torchvisions(ours, theirs):
    """Our network with the weights of torchvision's, name by name."""
    state = theirs.state_dict()
    ours.trunk.load_state_dict({name: t for name, t in state.items() if not name.startswith("fc.")})
    ours.head.linear.load_state_dict(theirs.fc.state_dict())
    return ours


def trained(network):
    """Statistics and scales that are not those of a new network."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(-0.5, 1.5)
                module.bias.normal_(0, 0.3)
    return network.eval()


@pytest.mark.parametrize("size", [64, 224])
def test_resnet34_is_torchvisions_in_logits_and_gradients(size):
    theirs = trained(torchvision.models.resnet34(weights=None))
    ours = torchvisions(build("resnet34", 1, classes=1000, input_size=size, dropout=0.0), theirs).eval()
    assert parameters(ours) == 21_797_672  # torchvision's documentation
    images, labels = torch.randn(2, 3, size, size), torch.tensor([7, 3])
    logits = [network(images) for network in (ours, theirs)]
    torch.testing.assert_close(*logits)
    gradients = [
        torch.autograd.grad(F.cross_entropy(of_network, labels), list(network.parameters()))
        for of_network, network in zip(logits, (ours, theirs), strict=True)
    ]
    for mine, other in zip(*gradients, strict=True):  # in one order: trunk, then the linear layer
        torch.testing.assert_close(mine, other, atol=1e-5 * float(other.abs().max()), rtol=1e-4)


def test_initial_weights_are_those_that_torchvision_draws():
    # torchvision's own widths are fixed; its network of one block a stage is still a ResNet.
    networks = []
    for make in (
        lambda: torchvision.models.ResNet(BasicBlock, [1, 1, 2, 1], num_classes=5),
        lambda: ResNet(
            residual(64, True, [(64, 1, 1), (128, 2, 1), (256, 2, 2), (512, 2, 1)]),
            classes=5,
            input_size=64,
            dropout=0.5,
        ),
    ):
        torch.manual_seed(4)
        networks.append(list(make().state_dict().values()))
    assert all(torch.equal(theirs, ours) for theirs, ours in zip(*networks, strict=True))


def test_resnet8_has_the_blocks_of_the_cifar_family():
    network = build("resnet8", 1, classes=10, input_size=56, dropout=0.0)
    convolutions = network.convolutions()
    on_the_path = [name for name in convolutions if "downsample" not in name]
    assert len(on_the_path) + 1 == 8  # weighted layers, the linear one included
    assert [convolutions[name].out_channels for name in on_the_path] == [16, 16, 16, 32, 32, 64, 64]


def test_dropout_hides_channels_from_the_linear_layer():
    network = build("resnet8", 4, classes=3, input_size=32, dropout=0.5).double().train()
    feature_map = torch.rand(6, 16, 4, 4, dtype=torch.float64)
    kept = network.head.draw(feature_map)
    assert kept.shape == (6, 16)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    expected = (feature_map.mean((2, 3)) * kept) @ network.head.linear.weight.T + network.head.linear.bias
    torch.testing.assert_close(network.head.logits(feature_map, kept), expected)
