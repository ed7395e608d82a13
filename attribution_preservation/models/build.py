"""From the name of an architecture to a network."""

from collections.abc import Iterable, Mapping

import torch

from attribution_preservation.models.architecture import narrowed
from attribution_preservation.models.network import Network


@torch.inference_mode(False)  # else no layer of it could be trained or differentiated
def build(
    architecture: str,
    width_divisor: int,
    rates: Mapping[str, float] | None = None,
    *,
    classes: int,
    input_size: int,
    dropout: float,
    hidden: Iterable[int] = (),
) -> Network:
    """An architecture with every width divided by `width_divisor`, then thinned as channel pruning would.

    Args:
        architecture: a name in `attribution_preservation.models.networks`.
        width_divisor: divides every width of the trunk.
        rates: share of the filters that are missing, by the convolution's name, or for `all` that are not named.
        classes, input_size, dropout, hidden: as `Architecture.network` takes them.

    Raises:
        UserError: a width is not divisible, a layer is left without filters, or the input is too small.
        ValueError: there is no such architecture, or its family refuses the hidden layers.
    """
    shape = narrowed(architecture, width_divisor).thinned(rates or {})
    return shape.network(classes=classes, input_size=input_size, dropout=dropout, hidden=hidden)
