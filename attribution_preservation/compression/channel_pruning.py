"""Structured pruning: removes whole filters of small norm, with everything that depends on them."""

from collections.abc import Mapping

import torch

from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import kept_filters, rate_of_each
from attribution_preservation.models.network import Network


def prune_channels(network: Network, rates: Mapping[str, float]) -> None:
    """Remove filters from a network, in place.

    Each named convolution loses the filters with the smallest l1 norm and keeps floor(n (1 - rate)) of its n filters.
    The norms are computed before any filter is removed. A filter's bias, its batch-normalisation statistics and the
    inputs of the next layer that read it are removed too. The pruned network computes the same as the original network
    with that channel set to 0 after the ReLU.

    Args:
        network: network to prune; it is changed.
        rates: share of the filters to remove, by the convolution's name. `all` means all convolutions that can lose
            filters and are not named.

    Raises:
        UserError: a name is not a convolution that can lose filters, a rate is not from 0 to 1, or no filters would be
            left.

    Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets"; rates of the paper in supplement C.2.
    """
    groups = dict(network.filter_groups())
    rates = rate_of_each(rates, groups)
    if unknown := [name for name in rates if name not in groups]:
        raise UserError(f"{unknown[0]}: no filters can be removed there; there are {', '.join(groups)}")
    if beyond := [name for name, rate in rates.items() if not 0 <= rate <= 1]:
        raise UserError(f"{beyond[0]}: a rate is a share from 0 to 1, not {rates[beyond[0]]}")
    chosen = {name: kept_by_norm(groups[name].convolution.weight, rate) for name, rate in rates.items()}
    if empty := [name for name, kept in chosen.items() if not len(kept)]:
        raise UserError(f"{empty[0]}: a rate of {rates[empty[0]]} leaves none of its filters")
    for name, kept in chosen.items():
        groups[name].keep(kept)


def kept_by_norm(weight: torch.Tensor, rate: float) -> torch.Tensor:
    """Indices of the filters with the largest l1 norm, ascending. Of filters with equal norms, the later ones stay.

    Args:
        weight: weight of a convolution, [filters, inputs, kh, kw].
        rate: share of the filters to remove.
    """
    norms = weight.detach().abs().sum((1, 2, 3))
    removed = len(norms) - kept_filters(len(norms), rate)
    return torch.argsort(norms, stable=True)[removed:].sort().values
