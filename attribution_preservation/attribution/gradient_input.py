"""Gradient x input: first-order estimate of the logit's drop when a pixel becomes 0, the mean colour of the data."""

import torch

from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.attribution.pair_images import rows_of
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network


@explains
def gradient_input(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """M = sum over colours of x * d y_c / d x.

    All classes of an image share one forward pass.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Returns:
        Maps [P, S, S].

    Raises:
        ValueError: as `rows_of`.

    Source: Shrikumar et al. 2016, "Not just a black box".
    """
    rows = rows_of(network, images, classes, image_of_pair)
    rows = torch.arange(len(classes), device=classes.device) if rows is None else rows
    maps = images.new_empty(len(classes), *images.shape[2:])
    source = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = network(source)
    for pairs in _one_class_per_image(rows):
        chosen = logits[rows[pairs], classes[pairs]].sum()
        (gradient,) = torch.autograd.grad(chosen, source, retain_graph=True)
        maps[pairs] = (gradient * images)[rows[pairs]].sum(1)
    return maps


def _one_class_per_image(rows: torch.Tensor) -> list[torch.Tensor]:
    """Positions of pairs, split into groups in which each image occurs at most once."""
    occurrence = torch.zeros_like(rows)
    seen: dict[int, int] = {}
    for position, row in enumerate(rows.tolist()):
        occurrence[position] = seen[row] = seen.get(row, -1) + 1
    return [torch.nonzero(occurrence == turn)[:, 0] for turn in range(max(seen.values(), default=-1) + 1)]


GRADIENT_INPUT = AttributionMethod("gradient_input", "Gradient x input", gradient_input)
