"""The shape of a residual network: stages of basic blocks.

`layer2` is the output of the second stage, as torchvision calls it, and `layer2.0.conv1` the first convolution of its
first block.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import Architecture

if TYPE_CHECKING:
    from attribution_preservation.models.network import Network


@dataclass(frozen=True)
class ResidualStage:
    """Basic blocks in a row, each of two convolutions of 3 x 3 whose result is added to the block's input.

    Attributes:
        width: channels that the blocks hand on.
        stride: of the first block.
        inner: output channels of each block's first convolution.
    """

    width: int
    stride: int
    inner: tuple[int, ...]


@dataclass(frozen=True)
class ResNetShape(Architecture):
    """A convolution of 7 x 7 with stride 2, and stages of basic blocks (He et al. 2016).

    Only the first convolution of a block can shrink by itself: every other width enters a residual sum.

    Attributes:
        stem: output channels of the first convolution.
        pooled: whether a max-pool of 3 x 3 with stride 2 follows it.
        stages: from input to output.

    Raises:
        ValueError: there is no stage, or one without blocks or without a stride.
    """

    family: ClassVar = "resnet"
    sequential: ClassVar = False
    stem: int
    pooled: bool
    stages: tuple[ResidualStage, ...]

    def __post_init__(self) -> None:
        if not self.stages or any(not stage.inner or stage.stride < 1 for stage in self.stages):
            raise ValueError("a residual network needs stages, each with blocks and a stride of 1 or more")

    @classmethod
    def from_structure(cls, structure: dict[str, Any]) -> Self:
        """From `stem`, `pooled` and `stages`."""
        stages = [ResidualStage(**{**stage, "inner": tuple(stage["inner"])}) for stage in structure.pop("stages")]
        return cls(structure.pop("stem"), structure.pop("pooled"), tuple(stages))

    def network(self, *, classes: int, input_size: int, dropout: float, hidden: Iterable[int] = ()) -> "Network":
        """A network of this shape with initial weights.

        Raises:
            UserError: the input is too small.
            ValueError: hidden layers.
        """
        if reason := self.refuses_hidden(tuple(hidden)):
            raise ValueError(reason)
        from attribution_preservation.models.resnet import ResNet  # torch, and torchvision's models

        return ResNet(self, classes=classes, input_size=input_size, dropout=dropout)

    def refuses_hidden(self, hidden: Sequence[int]) -> str | None:
        """Any: the head averages the positions of the last layer, and is linear."""
        return "a residual network has no hidden layers in its head" if hidden else None

    @property
    def layer_names(self) -> list[str]:
        """`layer1`, `layer2`, ..."""
        return [f"layer{number}" for number in range(1, len(self.stages) + 1)]

    @property
    def explained_layer(self) -> str:
        """The last layer."""
        return self.last_layer

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the output of each layer, by name."""
        return {name: stage.width for name, stage in zip(self.layer_names, self.stages, strict=True)}

    @property
    def widths(self) -> dict[str, int]:
        """Of the stem (`conv1`), of each block's first convolution, and of each stage."""
        widths = {"conv1": self.stem}
        for name, stage in zip(self.layer_names, self.stages, strict=True):
            widths |= {f"{name}.{number}.conv1": width for number, width in enumerate(stage.inner)}
            widths[name] = stage.width
        return widths

    @property
    def prunable(self) -> list[str]:
        """The first convolution of each block."""
        return [name for name in self.widths if "." in name]

    def map_sizes(self, input_size: int) -> dict[str, int]:
        """Side of the output of each layer, by name, for a square input of `input_size` pixels.

        Raises:
            UserError: the input is so small that the last layer sees less than one cell of it.
        """
        strides = [2, 2 if self.pooled else 1, *(stage.stride for stage in self.stages)]
        if input_size < prod(strides):
            raise UserError(
                f"input.size: {input_size} pixels are too few for a network that divides them by {prod(strides)}"
            )
        sides = list(accumulate(strides, lambda side, stride: -(-side // stride), initial=input_size))
        return dict(zip(self.layer_names, sides[3:], strict=True))

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        """The same shape with other widths."""
        stages = []
        for name, stage in zip(self.layer_names, self.stages, strict=True):
            inner = tuple(widths[f"{name}.{number}.conv1"] for number in range(len(stage.inner)))
            stages.append(ResidualStage(widths[name], stage.stride, inner))
        return type(self)(widths["conv1"], self.pooled, tuple(stages))


def residual(stem: int, pooled: bool, stages: Iterable[tuple[int, int, int]]) -> ResNetShape:
    """A residual network before any pruning, of stages (width, stride, number of blocks)."""
    return ResNetShape(
        stem, pooled, tuple(ResidualStage(width, stride, (width,) * blocks) for width, stride, blocks in stages)
    )
