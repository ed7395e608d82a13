"""Activation x gradient: Grad-CAM without averaging the gradient over a channel."""

import torch
import torch.nn.functional as F

from attribution_preservation.attribution.grad_cam import activation_and_gradient
from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network


@explains
def activation_gradient(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    activation: torch.Tensor | None = None,
) -> torch.Tensor:
    """M = ReLU(sum_k a_k * d y_c / d a_k): every unit uses its own gradient, not its channel's mean.

    Arguments, returns and errors as `attribution_preservation.attribution.grad_cam.grad_cam`.

    Source: Review 1 of Park et al. 2020 asks for it; Draelos and Carin 2020 call it HiResCAM.
    """
    activation, gradient = activation_and_gradient(network, images, classes, image_of_pair, activation, centred=False)
    return F.relu((activation * gradient).sum(1))


ACTIVATION_GRADIENT = AttributionMethod(
    "activation_gradient", "Activation x gradient", activation_gradient, resolution="layer", needs="layer"
)
