"""Relevance propagation: layer by layer, from a logit down, each layer divides relevance among its inputs.

A rule runs its layer forward and returns the output and a function that propagates relevance backward. Rules are found
by layer type; a layer without a rule raises TypeError. If a layer cannot pass relevance on, it absorbs it. This happens
if all its positive inputs are 0 and only a bias or the shift of a batch normalisation made its output positive.
Absorbed relevance is counted: sum of the input's relevance + absorbed = relevance at the start.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_input

from attribution_preservation.attribution.pair_images import of_pairs
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Head, Network

_TINY = 1e-30


@dataclass(frozen=True)
class Flow:
    """Relevance of P pairs during the backward pass to the image.

    Attributes:
        relevance: [P, ...], in the shape of the layer that it has reached.
        absorbed: sum of the relevance that layers have absorbed so far, [P].
        rows: row of each pair's image, int64 [P]; None if pair p explains image p.
    """

    relevance: torch.Tensor
    absorbed: torch.Tensor
    rows: torch.Tensor | None

    def to(self, relevance: torch.Tensor, lost: torch.Tensor | None = None) -> "Flow":
        """Relevance of the same pairs one layer further down; adds `lost` [P] to the absorbed relevance."""
        return replace(self, relevance=relevance, absorbed=self.absorbed if lost is None else self.absorbed + lost)

    def over(self, denominator: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Relevance / denominator [B, ...], 0 where the denominator is 0, and the sum of the relevance there, [P]."""
        return divide(self.relevance, of_pairs(denominator, self.rows))


@dataclass(frozen=True)
class Relevance:
    """Result of a relevance propagation.

    Attributes:
        maps: relevance, summed over the channels of the explained layer or the colours of the image, [P, h, w].
        start: relevance at the logit, [P].
        absorbed: part of `start` that layers absorbed, [P].
    """

    maps: torch.Tensor
    start: torch.Tensor
    absorbed: torch.Tensor


Back = Callable[[Flow], Flow]
Rule = Callable[[nn.Module, torch.Tensor], tuple[torch.Tensor, Back]]
HeadRule = Callable[[Head, torch.Tensor, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, Flow]]


def _is_residual(layer: nn.Module) -> bool:
    # Imported here because torchvision takes two seconds and checking a profile does not need it.
    from torchvision.models.resnet import BasicBlock

    return isinstance(layer, BasicBlock)


@dataclass(frozen=True)
class Rules:
    """Rules of one attribution method.

    Attributes:
        method: name of the method, for messages.
        of: rule for each layer type.
        image: rule of the layer that reads the image; None if relevance stops at the explained layer.
        head: rule of the last linear layer. It takes the head, the layer's inputs (the feature map [B, K, h, w], or the
            output of a hidden layer [B, n]), classes [P] and rows. It returns the start [P] and the inputs' relevance.
        by_size: whether a residual sum divides relevance in proportion to the absolute values of its terms. Otherwise
            it uses the signed terms, which is bounded only if an output of 0 has no relevance.
    """

    method: str
    of: Mapping[type[nn.Module], Rule]
    image: Rule | None
    head: HeadRule
    by_size: bool = False

    def walk(
        self, layers: Iterable[nn.Module], flowing: torch.Tensor, first: nn.Module | None = None
    ) -> tuple[torch.Tensor, Back]:
        """Run layers one after the other; `first` is the layer that reads the image."""
        backs: list[Back] = []
        for layer in layers:
            if layer is first and self.image:
                flowing, back = self.image(layer, flowing)
            elif isinstance(layer, nn.Sequential):
                flowing, back = self.walk(layer, flowing)
            elif _is_residual(layer):
                flowing, back = self._residual(layer, flowing)
            elif rule := self.of.get(type(layer)):
                flowing, back = rule(layer, flowing)
            else:
                raise TypeError(f"{self.method} has no rule for a layer of type {type(layer).__name__}")
            backs.append(back)

        def back_through_all(flow: Flow) -> Flow:
            for back in reversed(backs):
                flow = back(flow)
            return flow

        return flowing, back_through_all

    def _residual(self, block: nn.Module, flowing: torch.Tensor) -> tuple[torch.Tensor, Back]:
        branch, back_branch = self.walk([block.conv1, block.bn1, block.relu, block.conv2, block.bn2], flowing)
        skip, back_skip = self.walk([block.downsample] if block.downsample else [], flowing)
        terms = (branch.abs(), skip.abs()) if self.by_size else (branch, skip)

        def back(flow: Flow) -> Flow:
            per_unit, lost = flow.over(terms[0] + terms[1])
            deep = back_branch(flow.to(of_pairs(terms[0], flow.rows) * per_unit, lost))
            side = back_skip(replace(deep, relevance=of_pairs(terms[1], flow.rows) * per_unit))
            return side.to(deep.relevance + side.relevance)

        return F.relu(branch + skip), back


@explains
@torch.no_grad()
def propagate(
    network: Network, images: torch.Tensor, classes: torch.Tensor, rows: torch.Tensor | None, rules: Rules
) -> Relevance:
    """Relevance of the image's pixels, or of the explained layer's positions if `rules.image` is None.

    Args:
        network: in eval mode.
        images: [B, 3, S, S].
        classes: int64 [P].
        rows: row of each pair's image, int64 [P]; None if pair p explains image p.
        rules: rules of the method.

    Raises:
        TypeError: the network has a layer without a rule.
    """
    if rules.image:
        feature_map, back = rules.walk(network.trunk, images, first=network.trunk[0])
    else:
        above = network.layer_index[network.explained_layer] + 1
        feature_map, back = rules.walk(network.trunk[above:], network.last_activation(images))
    entering, back_hidden = rules.walk(network.head.below, feature_map)
    start, flow = rules.head(network.head, entering, classes, rows)
    flow = back(back_hidden(flow))
    return Relevance(flow.relevance.sum(1), start, flow.absorbed)


def divide(relevance: torch.Tensor, denominator: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The `quotient`, and the sum of the relevance where the denominator is 0, [P]."""
    zero = denominator.abs() < _TINY
    return (relevance / denominator).masked_fill_(zero, 0), total(torch.where(zero, relevance, 0))


def total(values: torch.Tensor) -> torch.Tensor:
    """Sum of each pair's values: [P] from [P, ...]."""
    return values.sum(tuple(range(1, values.dim())))


def beside(of_pair: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """One number per pair, [P], reshaped to broadcast against values [P, ...]."""
    return of_pair.view(-1, *[1] * (values.dim() - 1))


def quotient(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """numerator / denominator, 0 where the absolute value of the denominator is below 1e-30.

    A float32 quotient could overflow there, and a denominator that small has no relevance to distribute.
    """
    return (numerator / denominator).masked_fill_(denominator.abs() < _TINY, 0)


def unchanged(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Batch normalisation and dropout: relevance passes as it is."""
    return layer(inputs), lambda flow: flow


def relu(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Relevance passes as it is. The layer itself is not run, as it may overwrite an input that another rule needs."""
    return F.relu(inputs), lambda flow: flow


def reshaped(layer: nn.Flatten, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Flatten: relevance regains the shape of the inputs."""
    return layer(inputs), lambda flow: flow.to(flow.relevance.unflatten(1, inputs.shape[1:]))


def winner_takes_all(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Max-pooling: relevance goes to the position of the maximum."""

    def back(flow: Flow) -> Flow:
        with torch.enable_grad():
            source = of_pairs(inputs, flow.rows).detach().requires_grad_()
            (won,) = torch.autograd.grad(layer(source), source, flow.relevance)
        return flow.to(won)

    return layer(inputs), back


def positive_weights(layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """The z+ rule without bias: relevance is divided in proportion to the positive contributions x w.

    Inputs after a ReLU are not negative, so one pass is enough. Other inputs need a second pass for negative inputs
    times negative weights.

    Source: Montavon et al. 2017, "Explaining nonlinear classification decisions with deep Taylor decomposition".
    """

    def back(flow: Flow) -> Flow:
        weight = layer.weight
        parts = [(inputs, weight.clamp(min=0))]
        if (inputs < 0).any():
            parts = [(inputs.clamp(min=0), weight.clamp(min=0)), (inputs.clamp(max=0), weight.clamp(max=0))]
        per_unit, lost = flow.over(sum(transform(layer, x, w) for x, w in parts))
        return flow.to(sum(of_pairs(x, flow.rows) * transform_back(layer, x, w, per_unit) for x, w in parts), lost)

    return layer(inputs), back


def bounded(layer: nn.Conv2d, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """The z^B rule: relevance is divided in proportion to x w - l w+ - h w-.

    l and h are the minimum and the maximum of the image itself. Because w = w+ + w-, the expression equals
    (x - l) w+ + (x - h) w-, in which no term is negative.

    Source: as `positive_weights`.
    """

    def back(flow: Flow) -> Flow:
        low, high = inputs.amin((1, 2, 3), keepdim=True), inputs.amax((1, 2, 3), keepdim=True)
        parts = [(inputs - low, layer.weight.clamp(min=0)), (inputs - high, layer.weight.clamp(max=0))]
        per_unit, lost = flow.over(sum(transform(layer, x, w) for x, w in parts))
        return flow.to(sum(of_pairs(x, flow.rows) * transform_back(layer, x, w, per_unit) for x, w in parts), lost)

    return layer(inputs), back


def contributions(
    head: Head, entering: torch.Tensor, weight: torch.Tensor, classes: torch.Tensor, rows: torch.Tensor | None
) -> torch.Tensor:
    """Contribution of each input to the pair's logit, for given weights [C, inputs] of the last linear layer."""
    cells = of_pairs(entering, rows)
    chosen = weight.index_select(0, classes)
    if head.side:
        return cells * chosen.view(cells.shape)
    return cells * chosen[:, :, None, None] / (cells.shape[2] * cells.shape[3])


def positive_head(start: Callable[[torch.Tensor], torch.Tensor]) -> HeadRule:
    """The z+ rule of the last linear layer: positive contributions only, without bias.

    Args:
        start: function from the logits [P] of the explained classes to the relevance that is distributed, [P].
    """

    def rule(
        head: Head, entering: torch.Tensor, classes: torch.Tensor, rows: torch.Tensor | None
    ) -> tuple[torch.Tensor, Flow]:
        logits = of_pairs(head.linear(head.inputs(entering)), rows).gather(1, classes[:, None])[:, 0]
        given = start(logits)
        parts = contributions(head, entering, head.linear.weight.clamp(min=0), classes, rows)
        per_unit, lost = divide(given[:, None], total(parts)[:, None])
        return given, Flow(parts * beside(per_unit[:, 0], parts), lost, rows)

    return rule


def transform(layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Run the layer with other weights and without bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(inputs, weight)
    return F.conv2d(inputs, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def transform_back(
    layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor, weight: torch.Tensor, outputs: torch.Tensor
) -> torch.Tensor:
    """Run the transposed layer, whose result has the shape of the inputs [P, ...]."""
    if isinstance(layer, nn.Linear):
        return outputs @ weight
    shape = (len(outputs), *inputs.shape[1:])
    return conv2d_input(shape, weight, outputs, layer.stride, layer.padding, layer.dilation, layer.groups)
