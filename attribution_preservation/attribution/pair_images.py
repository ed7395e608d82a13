"""(Image, class) pairs, the input of every attribution method."""

import numpy as np
import torch

from attribution_preservation.models.network import Network


def rows_of(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None
) -> torch.Tensor | None:
    """Row of each pair's image, after checking the arguments.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; None where pair p explains image p.

    Returns:
        int64 [P], or None if the rows are 0 to P - 1, so that nothing needs to be copied.

    Raises:
        ValueError: the network is in training mode, in which an image's map would depend on the rest of its batch; the
            numbers of classes and images, or of classes and rows, differ; a class or a row does not exist; an image
            has a value that is not finite.
    """
    if network.training:
        raise ValueError("the network must be in eval mode")
    if image_of_pair is None and len(classes) != len(images):
        raise ValueError(f"{len(images)} images, but {len(classes)} classes")
    if image_of_pair is not None and len(classes) != len(image_of_pair):
        raise ValueError(f"{len(image_of_pair)} rows of images, but {len(classes)} classes")
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < network.classes:
        raise ValueError(f"a class is outside 0 to {network.classes - 1}")
    rows = image_of_pair
    if rows is not None and rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < len(images):
        raise ValueError(f"a row is outside 0 to {len(images) - 1}")
    if not images.isfinite().all():
        raise ValueError("an image holds a value that is not finite")
    return rows


def spread(count: int, wanted: int | None) -> np.ndarray:
    """Positions of `wanted` pairs, evenly spaced over `count`; all if `wanted` is None or at least `count`."""
    if wanted is None or wanted >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def of_pairs(per_image: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """The values of each pair's image: [P, ...] from [B, ...]."""
    return per_image if rows is None else per_image.index_select(0, rows)
