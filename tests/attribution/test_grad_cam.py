"""Grad-CAM against captum and against its definition."""

import pytest
import torch
from captum.attr import LayerGradCam

from attribution_preservation.attribution.grad_cam import grad_cam


def images(count=5):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


CLASSES = torch.tensor([0, 1, 2, 1, 0])


def test_the_map_is_captums_times_the_number_of_cells(network):
    # captum averages the gradients over positions, the paper's authors sum them.
    ours = grad_cam(network, images(), CLASSES)
    oracle = LayerGradCam(network, network.trunk[-2])
    theirs = oracle.attribute(images(), target=CLASSES, relu_attributions=True)[:, 0] * ours[0].numel()
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    assert ours.shape == (5, 4, 4)
    assert ours.max() > 0


def test_a_batch_gives_what_its_images_give_one_by_one(network):
    whole = grad_cam(network, images(), CLASSES)
    single = torch.cat([grad_cam(network, images()[k : k + 1], CLASSES[k : k + 1]) for k in range(5)])
    torch.testing.assert_close(whole, single, atol=1e-12, rtol=0)


def test_pairs_may_share_an_image(network):
    shared = grad_cam(network, images(), torch.tensor([0, 1, 2]), image_of_pair=torch.tensor([3, 3, 1]))
    apart = grad_cam(network, images()[[3, 3, 1]], torch.tensor([0, 1, 2]))
    torch.testing.assert_close(shared, apart, atol=1e-12, rtol=0)


def test_the_network_is_left_as_it_was(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grad_cam(network, images(), CLASSES)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize("classes", [torch.tensor([0, 1, 2, 1, 3]), torch.tensor([0, -1, 2, 1, 0])])
def test_a_class_out_of_range_is_a_mistake(network, classes):
    with pytest.raises(ValueError, match="outside 0 to 2"):
        grad_cam(network, images(), classes)


def test_another_number_of_classes_than_images_is_a_mistake(network):
    with pytest.raises(ValueError, match="5 images, but 2 classes"):
        grad_cam(network, images(), torch.tensor([0, 1]))


def test_training_mode_is_a_mistake(network):
    with pytest.raises(ValueError, match="eval mode"):
        grad_cam(network.train(), images(), CLASSES)
