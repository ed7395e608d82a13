"""Extremal perturbation: optimises smooth masks of given areas so that the visible part keeps the logit highest."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.attribution.perturbation import blurred
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Share, Side, Steps, distinct


class ExtremalPerturbationSettings(MethodSettings):
    """Fong et al.'s masks of given areas.

    Attributes:
        steps: optimiser steps.
        cells: cells of the mask per side.
        areas: shares of the image that masks show.
    """

    steps: Steps
    cells: Annotated[Side, Field(ge=2)]
    areas: Annotated[list[Share], Field(min_length=1), AfterValidator(distinct)]


@explains
def extremal_perturbation(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    steps: int,
    cells: int,
    areas: Sequence[float],
) -> torch.Tensor:
    """M = sum over areas a of the smooth mask that shows a share a of the image and keeps the class's logit highest.

    For each area a, the mask m maximises y_c(m x + (1 - m) blur(x)) - w * mean((sorted(m) - ideal)^2). `ideal` is 0 for
    a share 1 - a of the pixels and 1 for the others. The weight w rises geometrically from 3 to 4800. The mask is the
    smooth maximum, over the cells of a grid, of the cell's value times a kernel. All values start at 1/2, so all cells
    are tied; the first step ignores the area (w = 0), so that the logit breaks the tie. The optimiser is SGD with
    learning rate 0.01 and momentum 0.9.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        steps: optimiser steps (published: 800).
        cells: cells of the grid per side.
        areas: shares of the image, each above 0 and below 1.

    Returns:
        Maps [P, S, S], not negative.

    Raises:
        ValueError: as `rows_of`.

    Source: Fong et al. 2019, changed for smaller budgets. Their schedule has 800 steps, with w from 300 to 4900. Our
    kernel is one cell wide; theirs has 21 of 224 pixels, as with 11 cells. We blur the image once; they use a pyramid
    up to sigma 20. We do not shift the image.
    """
    rows = rows_of(network, images, classes, image_of_pair)
    size, pairs = images.shape[-1], len(classes)
    visible, hidden = of_pairs(images, rows), of_pairs(blurred(images), rows)
    visible, hidden = (part.repeat(len(areas), 1, 1, 1) for part in (visible, hidden))
    targets = classes.repeat(len(areas))
    ideal = torch.stack([(torch.arange(size**2) >= round((1 - area) * size**2)).to(images) for area in areas])
    ideal = ideal.repeat_interleave(pairs, 0)
    smooth = _SmoothMaximum(size, cells, images)
    grid = torch.full_like(ideal[:, :1], 0.5).repeat(1, cells * cells).requires_grad_()
    optimizer = torch.optim.SGD([grid], lr=0.01, momentum=0.9, dampening=0.9)
    for step in range(steps):
        with torch.enable_grad():
            mask = smooth(grid)
            large = mask.view(-1, 1, size, size)
            score = network(large * visible + (1 - large) * hidden).gather(1, targets[:, None]).sum()
            misfit = (mask.sort(dim=1).values - ideal).square().mean(1).sum()
            loss = (3 * 1600 ** (step / steps) if step else 0) * misfit - score
        (grid.grad,) = torch.autograd.grad(loss, grid)
        optimizer.step()
        with torch.no_grad():
            grid.clamp_(0, 1)
    return smooth(grid.detach()).view(len(areas), pairs, size, size).sum(0)


class _SmoothMaximum:
    """Mask in pixels from values on a grid: the soft maximum of kernel times value over the 5 x 5 nearest cells."""

    _TEMPERATURE = 0.05

    def __init__(self, size: int, cells: int, like: torch.Tensor) -> None:
        self.size, self.cells = size, cells
        place = (torch.arange(size, dtype=torch.float64) + 0.5) * cells / size - 0.5  # a pixel's position in cells
        near = place.round().long()[:, None] + torch.arange(-2, 3)
        inside = (near >= 0) & (near < cells)
        near, away = near.clamp(0, cells - 1), (place[:, None] - near).square()
        distance = (away[:, None, :, None] + away[None, :, None, :]).sqrt()
        kernel = torch.exp(-2 * (distance - 0.5).clamp(min=0).square())
        kernel = kernel * (inside[:, None, :, None] & inside[None, :, None, :])
        index = near[:, None, :, None] * cells + near[None, :, None, :]
        self._kernel = kernel.view(size * size, 25).to(like)
        self._index = index.reshape(-1).to(like.device)

    def __call__(self, grid: torch.Tensor) -> torch.Tensor:
        """Masks [n, S * S] of values [n, cells * cells] from 0 to 1."""
        around = grid.index_select(1, self._index).view(len(grid), *self._kernel.shape) * self._kernel
        return (around * (around / self._TEMPERATURE).softmax(2)).sum(2)


EXTREMAL_PERTURBATION = AttributionMethod(
    "extremal_perturbation",
    "Extremal perturbation",
    extremal_perturbation,
    ExtremalPerturbationSettings,
    libraries=("torchvision",),
    example={"steps": 3, "cells": 8, "areas": [0.1, 0.3]},
)
