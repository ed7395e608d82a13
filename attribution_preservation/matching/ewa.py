"""EWA, equally weighted attribution: every channel counts the same, whatever the class."""

import torch


def ewa_map(feature_map: torch.Tensor) -> torch.Tensor:
    """M = mean over k of f_k^2.

    Args:
        feature_map: f, [B, K, h, w].

    Returns:
        Maps [B, h, w], not negative.

    Source: activation-based attention transfer, Zagoruyko and Komodakis 2017; EWA in Park et al. 2020.
    """
    return feature_map.square().mean(1)
