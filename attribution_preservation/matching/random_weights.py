"""Random channel weights, without gradients in either network: the control for SSWA."""

import torch

from attribution_preservation.matching.loss import Dropped, LayerSettings, MatchingLoss, Target
from attribution_preservation.matching.view import View


class RandomWeightsSettings(LayerSettings, Dropped):
    """Random channel weights."""


def random_map(feature_map: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """M = sum over k of u_k f_k. The feature map comes after a ReLU, so M needs no rectifier.

    Args:
        feature_map: f, [B, K, h, w].
        weights: u, 0 or 1, [K]; None for the student, which uses all channels, as in SSWA.

    Returns:
        Maps [B, h, w].
    """
    if weights is None:
        return feature_map.sum(1)
    return torch.einsum("k,bkhw->bhw", weights.to(feature_map), feature_map)


def bernoulli_weights(channels: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """u: each channel is left out with probability `share`, independently; 0 or 1, [K].

    Source: the first of two readings of SSWA that a reviewer of Park et al. 2020 found in the paper.
    """
    return (torch.rand(channels, generator=generator) >= share).float()


def _map(view: View, target: Target, settings: RandomWeightsSettings) -> torch.Tensor:
    return random_map(view.features[target.layer], target.drawn)


RANDOM_WEIGHTS = MatchingLoss("random_weights", "Random weights", _map, RandomWeightsSettings, draw=bernoulli_weights)
