"""Grad-CAM (Selvaraju et al. 2017) at the last ReLU before the last max-pool, and its sibling without averaging."""

import torch
import torch.nn.functional as F

from attribution_preservation.attribution.pairs import of_pairs, rows_of
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network


@explains
def grad_cam(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    centred: bool = False,
    positive_weights: bool = False,
    activation: torch.Tensor | None = None,
) -> torch.Tensor:
    """M = ReLU(sum_k alpha_k a_k) with alpha_k = sum over positions of d y_c / d a_k.

    The trunk runs once per image, however many of its classes are explained. The network's parameters, statistics
    and mode are left as they are.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        centred: explain y_c minus the mean of the image's logits (Shrikumar et al. 2017, section 3.6).
        positive_weights: use ReLU(alpha_k): only channels that speak for the class.
        activation: the network's last activation of these images, [B, K, h, w], where it is known: the trunk, which is
            nearly all of the work, then does not run again.

    Returns:
        Maps [P, h, w], not negative, in the resolution of the last activation (14 x 14 for 227 pixels in VGG16).

    Raises:
        ValueError: as `rows_of`.
    """
    activation, gradient = _last_activation(network, images, classes, image_of_pair, activation, centred)
    alpha = gradient.sum((2, 3))
    return F.relu(torch.einsum("pk,pkhw->phw", F.relu(alpha) if positive_weights else alpha, activation))


@explains
def activation_gradient(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    activation: torch.Tensor | None = None,
) -> torch.Tensor:
    """M = ReLU(sum_k a_k * d y_c / d a_k): every unit with its own gradient, not its channel's.

    Arguments, returns and errors as `grad_cam`.

    Source: Review 1 of Park et al. 2020 asks for it; Draelos and Carin 2020 call it HiResCAM.
    """
    activation, gradient = _last_activation(network, images, classes, image_of_pair, activation, centred=False)
    return F.relu((activation * gradient).sum(1))


def _last_activation(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None,
    known: torch.Tensor | None,
    centred: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last activation of each pair's image and the gradient of its class's logit there, both [P, K, h, w]."""
    rows = rows_of(network, images, classes, image_of_pair)
    with torch.no_grad():
        activation = of_pairs(network.last_activation(images) if known is None else known, rows)
    activation = activation.detach().requires_grad_()
    with torch.enable_grad():
        logits = network.logits_from_activation(activation)
        chosen = logits.gather(1, classes[:, None]).sum()
        if centred:
            chosen = chosen - logits.mean(1).sum()
        (gradient,) = torch.autograd.grad(chosen, activation)
    return activation.detach(), gradient
