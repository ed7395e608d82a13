"""EWA, equally weighted attribution: every channel has the same weight, for every class."""

import torch

from attribution_preservation.matching.loss import LayerSettings, MatchingLoss, Target
from attribution_preservation.matching.view import View


def ewa_map(feature_map: torch.Tensor) -> torch.Tensor:
    """M = mean over k of f_k^2.

    Args:
        feature_map: f, [B, K, h, w].

    Returns:
        Non-negative maps [B, h, w].

    Source: activation-based attention transfer, Zagoruyko and Komodakis 2017; EWA in Park et al. 2020.
    """
    return feature_map.square().mean(1)


def _map(view: View, target: Target, settings: LayerSettings) -> torch.Tensor:
    return ewa_map(view.features[target.layer])


EWA = MatchingLoss("ewa", "EWA", _map)
