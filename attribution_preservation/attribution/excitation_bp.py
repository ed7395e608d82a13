"""Excitation backprop: propagates a probability from the logit down, through positive weights only."""

import torch
from torch import nn

from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.attribution.pair_images import rows_of
from attribution_preservation.attribution.relevance import (
    Relevance,
    Rules,
    positive_head,
    positive_weights,
    propagate,
    relu,
    reshaped,
    winner_takes_all,
)
from attribution_preservation.models.network import Network

_RULES = Rules(
    "excitation backprop",
    {nn.MaxPool2d: winner_takes_all, nn.Flatten: reshaped, nn.Linear: positive_weights, nn.ReLU: relu},
    image=None,
    head=positive_head(torch.ones_like),
)


def excitation_bp(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """Non-negative maps [P, h, w] of the explained layer; see `excitation_bp_relevance`."""
    return excitation_bp_relevance(network, images, classes, image_of_pair).maps


def excitation_bp_relevance(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> Relevance:
    """The probability of each position of the explained layer, the last ReLU before the last max-pool in a VGG.

    Only max-pooling, averaging and linear layers are above that layer. A unit j receives
    a_j sum_i w+_ji P(i) / sum_j a_j w+_ji from the probabilities P(i) above it. Where no positive weight meets an
    active unit, the probability cannot be propagated and is absorbed.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Raises:
        ValueError: as `rows_of`.

    Source: Zhang et al. 2016, "Top-down neural attention by excitation backprop".
    """
    return propagate(network, images, classes, rows_of(network, images, classes, image_of_pair), _RULES)


EXCITATION_BP = AttributionMethod(
    "excitation_bp",
    "Excitation BP",
    excitation_bp_relevance,
    resolution="layer",
    needs="relevance rules",
    libraries=("torchvision",),
)
