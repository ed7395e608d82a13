"""An exported network predicts and explains as the network does."""

import numpy as np
import onnxruntime
import pytest
import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.deployment.export import ExplainedNetwork, export_onnx
from attribution_preservation.models.build import build
from attribution_preservation.models.resnet import ResNet
from attribution_preservation.models.resnet_shape import residual
from attribution_preservation.models.vgg import VGG
from tests.conftest import MAKERS, make_network


@pytest.mark.parametrize("kind", MAKERS)
def test_maps_of_every_class_in_closed_form_are_those_of_autograd(kind):
    network, images = MAKERS[kind](0), torch.randn(4, 3, 8, 8, dtype=torch.float64)
    logits, maps = ExplainedNetwork(network)(images)
    torch.testing.assert_close(logits, network(images))
    for label in range(3):
        expected = grad_cam(network, images, torch.full((4,), label))
        torch.testing.assert_close(maps[:, label].detach(), expected, atol=1e-12, rtol=0)
    assert maps.max() > 0


def test_the_same_for_a_head_that_averages():
    network = build("resnet34", 1, classes=4, input_size=64, dropout=0.0).double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    _, maps = ExplainedNetwork(network)(images)
    # Grad-CAM differentiates the mean over positions: alpha is the weight itself.
    expected = grad_cam(network, images, torch.tensor([3, 3]))
    torch.testing.assert_close(maps[:, 3].detach(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("thinned", "hidden"), [(False, ()), (True, ()), (True, (24, 16))])
def test_the_file_computes_what_the_network_computes(tmp_path, thinned, hidden):
    network = build("vgg11_bn", 8, classes=5, input_size=64, dropout=0.5, hidden=hidden).eval()
    for linear in network.head.linears:
        torch.nn.init.normal_(linear.weight, 0, 0.1)
    if thinned:
        prune_channels(network, {"conv1": 0.5, "conv8": 0.7})
    export_onnx(network, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):  # the batch is not fixed
        images = torch.randn(count, 3, 64, 64)
        logits, maps = session.run(["logits", "grad_cam"], {"images": images.numpy()})
        with torch.no_grad():
            expected, explained = ExplainedNetwork(network)(images)
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5 * float(expected.abs().max()) + 1e-6)
        np.testing.assert_allclose(maps, explained.numpy(), atol=1e-5 * float(explained.max()) + 1e-6)


ONE_FILTER = {
    "linear": (VGG, (1, "M", 1, "M"), ()),
    "hidden": (VGG, (1, "M", 1, "M"), (6, 4)),
    "residual": (ResNet, residual(1, False, [(1, 1, 1), (1, 1, 1)]), None),
}


@pytest.mark.parametrize("kind", ONE_FILTER)
def test_the_file_of_a_network_with_one_filter_per_layer_explains_as_grad_cam_does(tmp_path, kind):
    family, shape, hidden = ONE_FILTER[kind]
    options = {} if hidden is None else {"hidden": hidden}
    network = family(shape, classes=3, input_size=8, dropout=0.0, **options).eval()
    with torch.no_grad():
        for linear in network.head.linears:
            linear.weight.normal_()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(0.5)  # so that the only filter is active somewhere
    assert {layer.out_channels for layer in network.convolutions().values()} == {1}
    export_onnx(network, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        images = torch.randn(count, 3, 8, 8)
        (maps,) = session.run(["grad_cam"], {"images": images.numpy()})
        expected = torch.stack([grad_cam(network, images, torch.full((count,), label)) for label in range(3)], 1)
        np.testing.assert_allclose(maps, expected.numpy(), atol=1e-5 * float(expected.max()), rtol=0)
        assert expected.max() > 0


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="must be in eval mode"):
        ExplainedNetwork(make_network(0).train())
