"""Relevance propagation: a logit is handed down layer by layer, and every layer says how it divides what it gets.

A rule runs its layer forward and returns, with the output, the way back. Layer types are looked up, never guessed: one
without a rule raises. Where a layer gives relevance nowhere to go (all its positive inputs are 0, and only a bias or a
batch normalisation's shift made its output positive), relevance is absorbed, and counted:
sum of the input's relevance + absorbed = relevance at the start.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_input

from attribution_preservation.attribution.pairs import of_pairs
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Head, Network

_TINY = 1e-30


@dataclass(frozen=True)
class Flow:
    """Relevance of P pairs on its way to the image.

    Attributes:
        relevance: [P, ...], in the shape of the layer that it has reached.
        absorbed: sum of what layers kept on the way, [P].
        rows: of each pair's image, int64 [P]; None where pair p explains image p.
    """

    relevance: torch.Tensor
    absorbed: torch.Tensor
    rows: torch.Tensor | None

    def to(self, relevance: torch.Tensor, lost: torch.Tensor | None = None) -> "Flow":
        """The same pairs one layer further."""
        return replace(self, relevance=relevance, absorbed=self.absorbed if lost is None else self.absorbed + lost)

    def over(self, denominator: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Relevance by a layer's outputs [B, ...], 0 where they are 0, and the sum [P] of what stood there."""
        return divide(self.relevance, of_pairs(denominator, self.rows))


@dataclass(frozen=True)
class Relevance:
    """What came out.

    Attributes:
        maps: summed over the channels of the layer that was asked for, [P, h, w].
        start: relevance at the logit, [P].
        absorbed: of it, what did not arrive, [P].
    """

    maps: torch.Tensor
    start: torch.Tensor
    absorbed: torch.Tensor


Back = Callable[[Flow], Flow]
Rule = Callable[[nn.Module, torch.Tensor], tuple[torch.Tensor, Back]]
HeadRule = Callable[[Head, torch.Tensor, torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, Flow]]


def _is_residual(layer: nn.Module) -> bool:
    # Imported here: torchvision takes two seconds, for which the check of a profile need not wait.
    from torchvision.models.resnet import BasicBlock

    return isinstance(layer, BasicBlock)


@dataclass(frozen=True)
class Rules:
    """One method.

    Attributes:
        method: its name, for messages.
        of: rule by layer type.
        image: rule of the layer that sees the image; None where relevance does not go that far.
        head: of the last linear layer: from the head, what enters that layer (the feature map [B, K, h, w], or a hidden
            layer's output [B, n]), classes [P] and rows to the start [P] and the relevance of what enters.
        by_size: whether a residual sum divides relevance by the size of its terms; else by the terms, sign and all,
            which is bounded only where an output without activation has no relevance.
    """

    method: str
    of: Mapping[type[nn.Module], Rule]
    image: Rule | None
    head: HeadRule
    by_size: bool = False

    def walk(
        self, layers: Iterable[nn.Module], flowing: torch.Tensor, first: nn.Module | None = None
    ) -> tuple[torch.Tensor, Back]:
        """Run layers one after the other; `first` is the one that sees the image."""
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
    """Relevance of the image's pixels, or of the explained layer's positions where the rules have none for the image.

    Args:
        network: in eval mode.
        images: [B, 3, S, S].
        classes: int64 [P].
        rows: row of each pair's image, int64 [P]; None for 0 to P - 1.
        rules: the method.

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
    """Sum of each pair's values, [P] of [P, ...]."""
    return values.sum(tuple(range(1, values.dim())))


def beside(of_pair: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A number for each pair, [P], in a shape that meets its values [P, ...]."""
    return of_pair.view(-1, *[1] * (values.dim() - 1))


def quotient(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """numerator / denominator, 0 where the denominator is 0 or near underflow.

    Below 1e-30 a quotient of float32 could overflow, and what is that small has nothing to hand on.
    """
    return (numerator / denominator).masked_fill_(denominator.abs() < _TINY, 0)


def unchanged(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Batch normalisation and dropout: relevance passes as it is."""
    return layer(inputs), lambda flow: flow


def relu(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Relevance passes as it is. (Not the layer itself, which may overwrite what another rule still needs.)"""
    return F.relu(inputs), lambda flow: flow


def reshaped(layer: nn.Flatten, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Relevance goes back to where it belongs."""
    return layer(inputs), lambda flow: flow.to(flow.relevance.unflatten(1, inputs.shape[1:]))


def winner_takes_all(layer: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """Max-pooling: relevance goes to the position that won."""

    def back(flow: Flow) -> Flow:
        with torch.enable_grad():
            source = of_pairs(inputs, flow.rows).detach().requires_grad_()
            (won,) = torch.autograd.grad(layer(source), source, flow.relevance)
        return flow.to(won)

    return layer(inputs), back


def positive_weights(layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor) -> tuple[torch.Tensor, Back]:
    """The z+ rule without bias: in proportion to the positive contributions x w.

    Inputs behind a ReLU are not negative, and one pass suffices; others take a second for negative times negative.

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
    """The z^B rule: x w - l w+ - h w-, with l and h the image's own minimum and maximum.

    With w = w+ + w- that is (x - l) w+ + (x - h) w-, in which no term is negative.

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
    """What each cell adds to the logit under some weights of the last linear layer [C, inputs], by pair."""
    cells = of_pairs(entering, rows)
    chosen = weight.index_select(0, classes)
    if head.side:
        return cells * chosen.view(cells.shape)
    return cells * chosen[:, :, None, None] / (cells.shape[2] * cells.shape[3])


def positive_head(start: Callable[[torch.Tensor], torch.Tensor]) -> HeadRule:
    """The z+ rule of the last linear layer: positive contributions alone, without bias.

    Args:
        start: from the logits [P] of the explained classes to the relevance that is handed out, [P].
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
    """The layer with other weights and without bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(inputs, weight)
    return F.conv2d(inputs, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def transform_back(
    layer: nn.Conv2d | nn.Linear, inputs: torch.Tensor, weight: torch.Tensor, outputs: torch.Tensor
) -> torch.Tensor:
    """The transposed layer, onto the shape of the inputs [P, ...]."""
    if isinstance(layer, nn.Linear):
        return outputs @ weight
    shape = (len(outputs), *inputs.shape[1:])
    return conv2d_input(shape, weight, outputs, layer.stride, layer.padding, layer.dilation, layer.groups)
