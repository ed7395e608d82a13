"""Input x gradient as the map that is matched."""

import torch

from attribution_preservation.matching.loss import Gradient, MapSettings, MatchingLoss, StudentDropout, Target
from attribution_preservation.matching.rectifier import RECTIFIERS, Rectifier
from attribution_preservation.matching.sensitivity import gradient_by_autograd
from attribution_preservation.matching.view import View


class InputGradientSettings(MapSettings, Gradient, StudentDropout):
    """Input x gradient."""


def input_gradient_map(view: View, classes: torch.Tensor, rectifier: Rectifier, centred: bool) -> torch.Tensor:
    """M = V(sum over colours of x * d y_c / d x), at the resolution of the images.

    Args:
        view: a pass that records gradients from the input on.
        classes: c for each image, int64 [B].
        rectifier: V.
        centred: differentiate y_c minus the mean of the image's logits instead.

    Returns:
        Maps [B, S, S].

    Source: Shrikumar et al. 2016.
    """
    gradient = gradient_by_autograd(view.explained, view.images, classes, centred)
    return rectifier((view.images.detach() * gradient).sum(1))


def _map(view: View, target: Target, settings: InputGradientSettings) -> torch.Tensor:
    return input_gradient_map(view, target.classes, RECTIFIERS[settings.rectifier], settings.centred)


INPUT_GRADIENT = MatchingLoss(
    "input_gradient", "Gradient x input", _map, InputGradientSettings, of="input", recorded="input"
)
