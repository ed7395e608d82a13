"""How alike are two networks' hidden layers on the same images? Debiased linear CKA, and image by image."""

import numpy as np
import torch


def gram(features: torch.Tensor) -> torch.Tensor:
    """Similarities of images in one layer, float64 [n, n].

    Args:
        features: the layer's output, [n, ...]; every unit at every position is a feature of its own.
    """
    flat = features.detach().flatten(1).double()
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T


def linear_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Debiased linear CKA of two layers from their `gram`; NaN where one layer is the same for every image.

    1: one layer is the other up to a rotation and a scale; about 0: they have nothing in common (it may be a little
    below). Layers of any widths can be compared. Without the correction few images beside many features bring any two
    layers close to 1 (Murphy et al. 2024, Correcting biased centered kernel alignment measures).

    Args:
        first, second: [n, n] with n > 3, of the same images.

    Source: Nguyen et al. 2021, Do wide and deep networks learn the same things?, equation 3, with the unbiased
    estimator of HSIC of Song et al. 2012, equation 5.
    """
    cross, own = _hsic(first, second), _hsic(first, first) * _hsic(second, second)
    return float(cross / own**0.5) if own > 0 else float("nan")


def _hsic(first: torch.Tensor, second: torch.Tensor) -> float:
    count = len(first)
    k, l = (gram.clone().fill_diagonal_(0) for gram in (first, second))  # noqa: E741 (the paper's names)
    product = k @ l
    sums = k.sum() * l.sum() / ((count - 1) * (count - 2)) - 2 * product.sum() / (count - 2)
    return float((product.trace() + sums) / (count * (count - 3)))


def alike_by_image(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """For every image, do two layers find the same other images like it? Correlation of the rows of two `gram`s, [n].

    The image's similarity to itself is left out. NaN where a row is constant. Widths may differ, so that pruned and
    narrow students can be compared with their teacher image by image.

    Source: representational similarity (Kriegeskorte et al. 2008), read image by image.
    """
    count = len(first)
    others = ~torch.eye(count, dtype=torch.bool)
    rows = [gram[others].view(count, count - 1) for gram in (first, second)]
    centred = [row - row.mean(dim=1, keepdim=True) for row in rows]
    norms = [row.norm(dim=1) for row in centred]
    product = (centred[0] * centred[1]).sum(dim=1)
    return (product / (norms[0] * norms[1])).numpy()
