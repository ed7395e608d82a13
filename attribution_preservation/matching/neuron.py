"""Gradient x activation at every neuron. A reviewer asked for the effect of averaging the gradient over a channel."""

import torch

from attribution_preservation.matching.loss import MatchingLoss, Target
from attribution_preservation.matching.rectifier import RECTIFIERS, Rectifier
from attribution_preservation.matching.sensitivity import target_gradient
from attribution_preservation.matching.swa import SensitivitySettings, kept_channels, leaves_nothing
from attribution_preservation.matching.view import View


def neuron_map(feature_map: torch.Tensor, gradient: torch.Tensor, rectifier: Rectifier) -> torch.Tensor:
    """M = V(sum over k of d y_c / d f_k * f_k), position by position.

    Args:
        feature_map: f, [B, K, h, w].
        gradient: d y_c / d f, [B, K, h, w].
        rectifier: V.

    Returns:
        Maps [B, h, w].

    Source: gradient x input (Shrikumar et al. 2016) at a hidden layer; asked for in the reviews of Park et al. 2020.
    """
    return rectifier((gradient * feature_map).sum(1))


def _map(view: View, target: Target, settings: SensitivitySettings) -> torch.Tensor:
    gradient = target_gradient(view, target, settings.centred)
    return neuron_map(view.features[target.layer], gradient, RECTIFIERS[settings.rectifier])


NEURON = MatchingLoss(
    "neuron",
    "Activation x gradient",
    _map,
    SensitivitySettings,
    recorded="layers",
    draw=kept_channels,
    refuses=leaves_nothing,
)
