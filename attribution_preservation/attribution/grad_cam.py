"""Grad-CAM (Selvaraju et al. 2017) at the last ReLU before the last max-pool."""

import torch
import torch.nn.functional as F

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network


class GradCamSettings(MethodSettings):
    """Grad-CAM.

    Attributes:
        centred: explain logits that sum to 0 over the classes.
        positive_weights: use only channels whose weight is positive.
    """

    centred: bool = False
    positive_weights: bool = False


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

    The trunk runs once per image, for any number of its classes. The network's parameters, statistics and mode do not
    change.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        centred: explain y_c minus the mean of the image's logits (Shrikumar et al. 2017, section 3.6).
        positive_weights: use ReLU(alpha_k), so that only channels with a positive weight contribute.
        activation: the network's last activation of these images, [B, K, h, w], if it is known. The trunk, which
            takes nearly all of the time, then does not run again.

    Returns:
        Non-negative maps [P, h, w] at the resolution of the last activation (14 x 14 for 227 pixels in VGG16).

    Raises:
        ValueError: as `rows_of`.
    """
    activation, gradient = activation_and_gradient(network, images, classes, image_of_pair, activation, centred)
    alpha = gradient.sum((2, 3))
    return F.relu(torch.einsum("pk,pkhw->phw", F.relu(alpha) if positive_weights else alpha, activation))


def activation_and_gradient(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None,
    known: torch.Tensor | None,
    centred: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last activation of each pair's image, and the gradient of the pair's logit there, both [P, K, h, w]."""
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


GRAD_CAM = AttributionMethod(
    "grad_cam",
    "Grad-CAM",
    grad_cam,
    GradCamSettings,
    resolution="layer",
    needs="layer",
    variant_titles={
        "grad_cam_centred": "Grad-CAM, centred logits",
        "grad_cam_positive": "Grad-CAM, weights ReLU",
    },
)
