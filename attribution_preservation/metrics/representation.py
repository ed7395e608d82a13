"""How alike are two networks' hidden layers on the same images? Linear centred kernel alignment."""

import torch


def gram(features: torch.Tensor) -> torch.Tensor:
    """Similarities of images in one layer, centred, float64 [n, n].

    Args:
        features: the layer's output, [n, ...]; every unit at every position is a feature of its own.
    """
    flat = features.flatten(1).double()
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T


def linear_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Linear CKA of two layers from their `gram`, from 0 to 1; NaN where one layer is the same for every image.

    1: one layer is the other up to a rotation and a scale. Layers of any widths can be compared. Of few images beside
    many features it is biased towards 1 (Murphy et al. 2024): compare figures of the same images and layers alone.

    Source: Kornblith et al. 2019, Similarity of neural network representations revisited, equation 4 in its form by
    examples: <K, L> / (|K| |L|).
    """
    return float((first * second).sum() / (torch.linalg.norm(first) * torch.linalg.norm(second)))
