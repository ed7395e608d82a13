"""Similarity of two networks' hidden layers on the same images: debiased linear CKA, and a value for each image."""

import numpy as np
import torch


def gram(features: torch.Tensor) -> torch.Tensor:
    """Similarities of images in one layer, float64 [n, n].

    Args:
        features: the layer's output, [n, ...]; every unit at every position is a separate feature.
    """
    flat = features.detach().flatten(1).double()
    flat = flat - flat.mean(dim=0)
    return flat @ flat.T


def linear_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Debiased linear CKA of two layers from their `gram`; NaN if a layer's output is the same for every image.

    The value is 1 if the layers are equal up to rotation and scale. It is about 0, or slightly below, if they have
    nothing in common. Layers of any widths can be compared. Without the correction, few images with many features give
    values close to 1 for any two layers (Murphy et al. 2024, Correcting biased centered kernel alignment measures).

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
    """Whether two layers find the same images similar to each image: correlation of the rows of two `gram`s, [n].

    The image's similarity to itself is left out. NaN if a row is constant. Widths may differ, so pruned and narrow
    students can be compared with their teacher for each image.

    Source: representational similarity (Kriegeskorte et al. 2008), computed for each image.
    """
    count = len(first)
    others = ~torch.eye(count, dtype=torch.bool)
    rows = [gram[others].view(count, count - 1) for gram in (first, second)]
    centred = [row - row.mean(dim=1, keepdim=True) for row in rows]
    norms = [row.norm(dim=1) for row in centred]
    product = (centred[0] * centred[1]).sum(dim=1)
    return (product / (norms[0] * norms[1])).numpy()
