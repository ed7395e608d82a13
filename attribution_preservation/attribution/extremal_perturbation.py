"""Extremal perturbation: smooth masks of given areas are optimised so that what they show keeps the logit highest."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pairs import of_pairs, rows_of
from attribution_preservation.attribution.perturbation import blurred
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Share, Side, Steps, distinct


class ExtremalPerturbationSettings(MethodSettings):
    """Fong et al.'s masks of given areas.

    Attributes:
        steps: of the optimiser.
        cells: of the mask, per side.
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
    """Sum over areas a of the smooth mask that shows a share a of the image and keeps the class's logit highest.

    For each area, the mask maximises y_c(m x + (1 - m) blur(x)) - w * mean square of (sorted m - its ideal, which is 0
    in a share 1 - a of the pixels and 1 in the others); w rises geometrically from 3 to 4800. The mask is the smooth
    maximum over a grid's cells of their value times a kernel; all values start at 1/2 and the first step follows the
    logit alone, so that it is the logit that breaks the tie. SGD, learning rate 0.01, momentum 0.9.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        steps: of the optimiser (published: 800).
        cells: of the grid per side.
        areas: shares of the image, each above 0 and below 1.

    Returns:
        Maps [P, S, S], not negative.

    Raises:
        ValueError: as `rows_of`.

    Source: Fong et al. 2019. Ours, for smaller budgets: the schedule (theirs: 800 steps, w from 300 to 4900), the
    kernel, one cell wide (theirs: 21 of 224 pixels, as with 11 cells), one blur of the image (theirs: a pyramid up to
    sigma 20), no shifts.
    """
    rows = rows_of(network, images, classes, image_of_pair)
    size, pairs = images.shape[-1], len(classes)
    shown, hidden = of_pairs(images, rows), of_pairs(blurred(images), rows)
    shown, hidden = (part.repeat(len(areas), 1, 1, 1) for part in (shown, hidden))
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
            score = network(large * shown + (1 - large) * hidden).gather(1, targets[:, None]).sum()
            misfit = (mask.sort(dim=1).values - ideal).square().mean(1).sum()
            loss = (3 * 1600 ** (step / steps) if step else 0) * misfit - score
        (grid.grad,) = torch.autograd.grad(loss, grid)
        optimizer.step()
        with torch.no_grad():
            grid.clamp_(0, 1)
    return smooth(grid.detach()).view(len(areas), pairs, size, size).sum(0)


class _SmoothMaximum:
    """From values on a grid to a mask in pixels: soft maximum over the 5 x 5 nearest cells of kernel times value."""

    _TEMPERATURE = 0.05

    def __init__(self, size: int, cells: int, like: torch.Tensor) -> None:
        self.size, self.cells = size, cells
        place = (torch.arange(size, dtype=torch.float64) + 0.5) * cells / size - 0.5  # of a pixel, in cells
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
