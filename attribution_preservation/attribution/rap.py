"""Relative attributing propagation (RAP): ranks units by their influence, whether for or against the class."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.attribution.relevance import (
    Back,
    Flow,
    Relevance,
    Rules,
    beside,
    bounded,
    contributions,
    divide,
    propagate,
    quotient,
    relu,
    reshaped,
    total,
    transform,
    transform_back,
    unchanged,
    winner_takes_all,
)
from attribution_preservation.models.network import Head, Network


def rap(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """Non-negative maps [P, S, S] in pixels: ReLU of the relevance of `rap_relevance`."""
    return F.relu(rap_relevance(network, images, classes, image_of_pair).maps)


def rap_relevance(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> Relevance:
    """Relevance of the pixels before the ReLU. The head's rule distributes the logit.

    The authors do not define RAP for residual networks. This project defines it so that a residual sum divides
    relevance in proportion to the absolute values of its two terms.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Raises:
        ValueError: as `rows_of`.
        TypeError: the network has a layer without a rule.

    Source: Nam et al. 2020, "Relative attributing propagation".
    """
    return propagate(network, images, classes, rows_of(network, images, classes, image_of_pair), _RULES)


def _head(
    head: Head, entering: torch.Tensor, classes: torch.Tensor, rows: torch.Tensor | None
) -> tuple[torch.Tensor, Flow]:
    """r_i = |c_i| / sum |c| * sum c, where the bias is divided among the contributions in proportion to |c_i|."""
    contribution = contributions(head, entering, head.linear.weight, classes, rows)
    size = contribution.abs()
    bias, lost = divide(head.linear.bias[classes][:, None], total(size)[:, None])
    contribution = contribution + size * beside(bias[:, 0], size)
    size, start = contribution.abs(), total(contribution)
    return start + lost, Flow(size * beside(quotient(start, total(size)), size), lost, rows)


def _hidden(layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Propagate positive relevance through positive weights and negative relevance through negative weights.

    All relevance, divided by excited + inhibited, also passes through the negative weights. A shift then restores the
    sum.
    """

    def back(flow: Flow) -> Flow:
        positive, negative = layer.weight.clamp(min=0), -layer.weight.clamp(max=0)
        excited = of_pairs(transform(layer, inputs, positive), flow.rows)
        inhibited = of_pairs(transform(layer, inputs, negative), flow.rows)
        given = flow.relevance
        up = quotient(given.clamp(min=0), excited)
        down = quotient(given.clamp(max=0), inhibited) + quotient(given, excited + inhibited)
        relevance = transform_back(layer, inputs, positive, up) + transform_back(layer, inputs, negative, down)
        relevance *= of_pairs(inputs, flow.rows)
        none = relevance == 0
        count = none.shape[1:].numel() - total(none)
        before = total(given)
        shift = (total(relevance) - before) / count.clamp(min=1)
        return flow.to((relevance - beside(shift, relevance)).masked_fill_(none, 0), before * (count == 0))

    return layer(inputs), back


def _pooling(layer: nn.MaxPool2d, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """x * d pool(x) / d x * R / pool(x): the maximum receives all relevance, unless it is 0."""
    outputs, winner = winner_takes_all(layer, inputs)

    def back(flow: Flow) -> Flow:
        dead = of_pairs(outputs, flow.rows) == 0
        lost = total(flow.relevance * dead)
        return winner(flow.to(flow.relevance * ~dead, lost))

    return outputs, back


_RULES = Rules(
    "RAP",
    {
        nn.Conv2d: _hidden,
        nn.Linear: _hidden,
        nn.BatchNorm2d: unchanged,
        nn.ReLU: relu,
        nn.MaxPool2d: _pooling,
        nn.Flatten: reshaped,
    },
    image=bounded,
    head=_head,
    by_size=True,
)


def _cut_off(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> Relevance:
    relevance = rap_relevance(network, images, classes, image_of_pair)
    return replace(relevance, maps=F.relu(relevance.maps))


RAP = AttributionMethod("rap", "RAP", _cut_off, needs="relevance rules", libraries=("torchvision",))
