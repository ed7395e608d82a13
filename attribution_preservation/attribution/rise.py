"""RISE: estimates each pixel's contribution to the class's probability by hiding random regions."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Seed, Share, Side

_PIXELS_PER_PASS = 512 * 56 * 56  # pixels of masked images per forward pass


class RiseSettings(MethodSettings):
    """RISE.

    Attributes:
        masks: number of masks.
        cells: cells of a mask's grid per side.
        kept: probability that a cell shows the image.
        seed: seed of the masks.
    """

    masks: Annotated[int, Field(gt=0, le=100_000)]  # all are in memory at once, each of the image's size
    cells: Side
    kept: Share
    seed: Seed


@explains
@torch.no_grad()
def rise(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    masks: int,
    cells: int,
    kept: float,
    seed: int = 0,
) -> torch.Tensor:
    """M = 1 / (N kept) * sum over masks of p_c(x * m) m.

    A mask is a random grid of 0 and 1, smoothly enlarged and shifted by less than a cell. The masks are the same for
    every image and depend only on the seed. Hidden pixels become 0, the mean colour. All classes of an image share its
    masked forward passes. No gradient is used.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        masks: N.
        cells: grid cells per side.
        kept: probability that a cell shows the image.
        seed: seed of the masks.

    Returns:
        Non-negative maps [P, S, S].

    Raises:
        ValueError: as `rows_of`.

    Source: Petsiuk et al. 2018. p_c is the sigmoid of the logit, as the task is multi-label.
    """
    rows = rows_of(network, images, classes, image_of_pair)
    drawn = random_masks(masks, cells, kept, images.shape[-1], seed).to(images)
    maps = images.new_zeros(len(classes), *images.shape[2:])
    step = max(1, _PIXELS_PER_PASS // max(1, images[:, 0].numel()))
    for start in range(0, masks, step):
        some = drawn[start : start + step]
        masked = (images[None] * some[:, None, None]).flatten(0, 1)
        probability = network(masked).sigmoid().view(len(some), len(images), network.classes)
        chosen = of_pairs(probability.transpose(0, 1), rows)[torch.arange(len(classes)), :, classes]
        maps += torch.einsum("pn,nhw->phw", chosen, some)
    return maps / (masks * kept)


def random_masks(count: int, cells: int, kept: float, size: int, seed: int) -> torch.Tensor:
    """Smooth masks between 0 and 1, float32 [count, size, size]; equal arguments give equal masks."""
    generator = torch.Generator().manual_seed(seed)
    cell = -(-size // cells)
    grids = (torch.rand(count, 1, cells, cells, generator=generator, dtype=torch.float32) < kept).float()
    large = F.interpolate(grids, size=(cells + 1) * cell, mode="bilinear", align_corners=False)[:, 0]
    down, right = torch.randint(0, cell, (2, count), generator=generator).tolist()
    return torch.stack([one[i : i + size, j : j + size] for one, i, j in zip(large, down, right, strict=True)])


RISE = AttributionMethod(
    "rise",
    "RISE",
    rise,
    RiseSettings,
    needs="forward",
    example={"masks": 9, "cells": 4, "kept": 0.5, "seed": 0},
    of_probability=True,
)
