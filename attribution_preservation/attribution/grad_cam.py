"""Grad-CAM (Selvaraju et al. 2017) at the last ReLU before the last max-pool."""

import torch
import torch.nn.functional as F

from attribution_preservation.models.network import Network


def grad_cam(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """M = ReLU(sum_k alpha_k a_k) with alpha_k = sum over positions of d y_c / d a_k.

    The trunk runs once per image, however many of its classes are explained. The network's parameters, statistics
    and mode are left as they are; eval mode is required, since in training mode an image's map would depend on the
    rest of its batch.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Returns:
        Maps [P, h, w], not negative, in the resolution of the last activation (14 x 14 for 227 pixels in VGG16).

    Raises:
        ValueError: the network is in training mode, or the shapes do not fit together.
    """
    if network.training:
        raise ValueError("the network must be in eval mode")
    if image_of_pair is None:
        image_of_pair = torch.arange(len(classes), device=images.device)
        if len(classes) != len(images):
            raise ValueError(f"{len(images)} images, but {len(classes)} classes")
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < network.classes:
        raise ValueError(f"a class is outside 0 to {network.classes - 1}")
    with torch.no_grad():
        activation = network.last_activation(images)[image_of_pair]
    return grad_cam_at(network, activation, classes)


def grad_cam_at(network: Network, activation: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """`grad_cam` from the last activation on, for who has run the trunk already.

    Args:
        network: in eval mode.
        activation: output of the last ReLU for each pair, [P, K, h, w].
        classes: class to explain for each pair, int64 [P].

    Returns:
        Maps [P, h, w], not negative.
    """
    activation = activation.detach().requires_grad_()
    with torch.enable_grad():
        chosen = network.logits_from_activation(activation).gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, activation)
    alpha = gradient.sum((2, 3))
    return F.relu(torch.einsum("pk,pkhw->phw", alpha, activation.detach()))
