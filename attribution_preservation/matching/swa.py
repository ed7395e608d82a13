"""SWA and SSWA, (stochastic) sensitivity weighted attribution: a channel's weight is the class's sensitivity to it."""

import torch

from attribution_preservation.matching.loss import (
    Dropped,
    Gradient,
    LayerSettings,
    MatchingLoss,
    StudentDropout,
    Target,
)
from attribution_preservation.matching.rectifier import RECTIFIERS, Rectifier
from attribution_preservation.matching.sensitivity import target_gradient
from attribution_preservation.matching.view import View


class SensitivitySettings(LayerSettings, Dropped, Gradient, StudentDropout):
    """SWA, or SSWA if the share of dropped channels is above 0."""


def swa_map(
    feature_map: torch.Tensor, gradient: torch.Tensor, rectifier: Rectifier = RECTIFIERS["relu"]
) -> torch.Tensor:
    """M = V(sum over k of alpha_k f_k) with alpha_k = sum over positions of d y_c / d f_k.

    Args:
        feature_map: f, [B, K, h, w].
        gradient: d y_c / d f, [B, K, h, w].
        rectifier: V.

    Returns:
        Maps [B, h, w].

    Source: Park et al. 2020; Grad-CAM (Selvaraju et al. 2017) with summed instead of averaged channel weights.
    """
    return rectifier(torch.einsum("bk,bkhw->bhw", gradient.sum((2, 3)), feature_map))


def kept_channels(channels: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Draw, without replacement, the teacher's channels that SSWA keeps in one batch.

    Args:
        channels: K.
        share: p; round(p K) channels are left out.
        generator: a generator on the CPU.

    Returns:
        1 for each kept channel, else 0, [K].
    """
    kept = torch.ones(channels)
    kept[torch.randperm(channels, generator=generator)[: round(share * channels)]] = 0
    return kept


def leaves_nothing(settings: SensitivitySettings, channels: int) -> str | None:
    """Refuses a `dropped_share` that leaves none of a layer's channels."""
    if round(settings.dropped_share * channels) < channels:
        return None
    return f"a dropped_share of {settings.dropped_share:g} leaves none of {channels} channels"


def _map(view: View, target: Target, settings: SensitivitySettings) -> torch.Tensor:
    gradient = target_gradient(view, target, settings.centred)
    return swa_map(view.features[target.layer], gradient, RECTIFIERS[settings.rectifier])


SWA = MatchingLoss(
    "swa",
    "SWA",
    _map,
    SensitivitySettings,
    recorded="layers",
    draw=kept_channels,
    refuses=leaves_nothing,
    variant_titles={"sswa": "SSWA"},
)
