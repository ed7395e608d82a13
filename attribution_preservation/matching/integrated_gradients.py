"""Integrated gradients as the map that is matched."""

import torch

from attribution_preservation.matching.loss import Gradient, MapSettings, MatchingLoss, Target
from attribution_preservation.matching.rectifier import RECTIFIERS, Rectifier
from attribution_preservation.matching.sensitivity import gradient_by_autograd
from attribution_preservation.matching.view import View
from attribution_preservation.models.gradient_mode import constant, differentiable
from attribution_preservation.settings import Repeats


class IntegratedGradientsSettings(MapSettings, Gradient):
    """Integrated gradients.

    Attributes:
        steps: number of points on the path.
    """

    steps: Repeats = 4


def integrated_gradients_map(
    view: View, classes: torch.Tensor, rectifier: Rectifier, centred: bool, steps: int
) -> torch.Tensor:
    """M = V(sum over colours of x * mean over the path of d y_c / d x).

    The path is the straight line from the mean colour (0) to the image. The integral uses the midpoint rule. The
    network is in eval mode along the path, so that its running statistics ignore the images on the path and dropout
    does not affect the integral.

    Args:
        view: any pass over the images.
        classes: c for each image, int64 [B].
        rectifier: V.
        centred: differentiate y_c minus the mean of the image's logits instead.
        steps: number of points on the path.

    Returns:
        Maps [B, S, S].

    Source: Sundararajan et al. 2017, equation 1.
    """
    images, network = constant(view.images), view.network
    training = network.training
    with differentiable():
        shares = (torch.arange(steps, device=images.device, dtype=images.dtype) + 0.5) / steps
        path = (shares.view(-1, 1, 1, 1, 1) * images).flatten(0, 1).requires_grad_()
        network.eval()
        try:
            with torch.enable_grad():
                logits = network(path)
            gradient = gradient_by_autograd(logits, path, classes.repeat(steps), centred)
        finally:
            network.train(training)
    mean = gradient.unflatten(0, (steps, len(images))).mean(0)
    return rectifier((images * mean).sum(1))


def _map(view: View, target: Target, settings: IntegratedGradientsSettings) -> torch.Tensor:
    rectifier = RECTIFIERS[settings.rectifier]
    return integrated_gradients_map(view, target.classes, rectifier, settings.centred, settings.steps)


INTEGRATED_GRADIENTS = MatchingLoss(
    "integrated_gradients",
    "Integrated gradients",
    _map,
    IntegratedGradientsSettings,
    of="input",
    example={"strength": 50.0, "steps": 2},
)
