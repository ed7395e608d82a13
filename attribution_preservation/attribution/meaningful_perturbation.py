"""Meaningful perturbation: optimises a mask so that the hidden pixels lower the class's probability most."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.attribution.perturbation import PUBLISHED_SIZE, blurred
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Seed, Side, Steps

_JITTER = 4  # pixels of 224


class MeaningfulPerturbationSettings(MethodSettings):
    """Fong and Vedaldi's optimised mask.

    Attributes:
        steps: optimiser steps.
        cells: cells of the mask per side.
        seed: seed of the shifts.
    """

    steps: Steps
    cells: Annotated[Side, Field(ge=2)]
    seed: Seed


@explains
def meaningful_perturbation(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    steps: int,
    cells: int,
    seed: int = 0,
) -> torch.Tensor:
    """M = 1 - m, where the mask m lowers the class's probability as far as possible and hides as little as possible.

    On a grid of 28 x 28 cells, m minimises
    p_c(m x + (1 - m) blur(x)) + 1e-4 |1 - m|_1 + 1e-2 sum |difference of neighbours|^3.
    On another grid both sums are scaled to 28 x 28 cells. Each step shifts the images of all pairs by the same random
    offset of up to 4 pixels of 224. The optimiser is Adam with learning rate 0.1.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        steps: optimiser steps (published: 300).
        cells: cells of the mask per side (published: 28 for 224 pixels).
        seed: seed of the shifts.

    Returns:
        Maps [P, S, S] from 0 to 1.

    Raises:
        ValueError: as `rows_of`.

    Source: Fong and Vedaldi 2017. p_c is the sigmoid of the logit, as the task is multi-label.
    """
    rows = rows_of(network, images, classes, image_of_pair)
    size = images.shape[-1]
    visible, hidden = of_pairs(images, rows), of_pairs(blurred(images), rows)
    scale = (28 / cells) ** 2
    generator = torch.Generator().manual_seed(seed)
    reach = max(1, round(_JITTER * size / PUBLISHED_SIZE))
    mask = torch.ones(len(classes), 1, cells, cells, dtype=images.dtype, device=images.device, requires_grad=True)
    optimizer = torch.optim.Adam([mask], lr=0.1)
    for _ in range(steps):
        down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        with torch.enable_grad():
            large = _enlarged(mask, size)
            mixed = (large * visible + (1 - large) * hidden).roll((down, right), (2, 3))
            score = network(mixed).sigmoid().gather(1, classes[:, None]).sum()
            area = (1 - mask).abs().sum()
            rough = mask.diff(dim=2).abs().pow(3).sum() + mask.diff(dim=3).abs().pow(3).sum()
            loss = score + scale * (1e-4 * area + 1e-2 * rough)
        (mask.grad,) = torch.autograd.grad(loss, mask)
        optimizer.step()
        with torch.no_grad():
            mask.clamp_(0, 1)
    return 1 - _enlarged(mask.detach(), size)[:, 0]


def _enlarged(mask: torch.Tensor, size: int) -> torch.Tensor:
    return F.interpolate(mask, size=(size, size), mode="bilinear", align_corners=False)


MEANINGFUL_PERTURBATION = AttributionMethod(
    "meaningful_perturbation",
    "Meaningful perturbation",
    meaningful_perturbation,
    MeaningfulPerturbationSettings,
    libraries=("torchvision",),
    example={"steps": 3, "cells": 8, "seed": 0},
    of_probability=True,
)
