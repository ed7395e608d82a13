"""The shapes of networks as plain data: widths, layer names, map sizes. No torch: parameters are checked by it.

A layer is known by the name that people use. Of a VGG, `conv3` is the third convolution's output after batch
normalisation and ReLU, `pool2` that of the second max-pool; of a residual network, `layer2` is the output of the second
stage, as torchvision calls it, and `layer2.0.conv1` the first convolution of its first block.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from math import floor, prod
from typing import Literal, Self

from attribution_preservation.errors import UserError

Layer = int | Literal["M"]
Layers = tuple[Layer, ...]
ALL = "all"  # among rates: every layer that is not named itself


class Architecture(ABC):
    """The shape of a network's trunk."""

    @property
    @abstractmethod
    def layer_names(self) -> list[str]:
        """Names of the layers, from input to output; the last is the one that is matched unless another is named."""

    @property
    @abstractmethod
    def explained_layer(self) -> str:
        """Name of the layer whose output Grad-CAM weighs."""

    @property
    @abstractmethod
    def channels(self) -> dict[str, int]:
        """Channels of the output of each layer, by name."""

    @property
    @abstractmethod
    def widths(self) -> dict[str, int]:
        """Every width that the shape has, by the name of the convolution or layer that has it."""

    @property
    @abstractmethod
    def prunable(self) -> list[str]:
        """Names of the convolutions whose filters can be removed."""

    @abstractmethod
    def map_sizes(self, input_size: int) -> dict[str, int]:
        """Side of the output of each layer, by name, for a square input of `input_size` pixels.

        Raises:
            UserError: the input is too small.
        """

    @abstractmethod
    def with_widths(self, widths: Mapping[str, int]) -> Self:
        """The same shape with other widths, given as `widths` gives them."""

    @property
    def last_layer(self) -> str:
        """Name of the trunk's last layer."""
        return self.layer_names[-1]

    def thinned(self, rates: Mapping[str, float]) -> Self:
        """The shape that channel pruning leaves.

        Args:
            rates: share of the filters to remove, by the convolution's name or for `all` that are not named; 0 for the
                others.

        Raises:
            UserError: a name is no convolution's that can shrink, or a layer would lose all of its filters.
        """
        names, widths = self.prunable, self.widths
        each = rate_of_each(rates, names)
        if unknown := [name for name in each if name not in names]:
            raise UserError(
                f"{unknown[0]}: there is no such convolution that can shrink; there are {names[0]} to {names[-1]}"
            )
        kept = {name: kept_filters(widths[name], rate) for name, rate in each.items()}
        if empty := [name for name in names if kept.get(name, 1) < 1]:
            name = empty[0]
            raise UserError(f"{name}: a rate of {each[name]} leaves none of its {widths[name]} filters")
        return self.with_widths(widths | kept)

    def wider_than(self, teacher: "Architecture") -> str | None:
        """Where it has more channels than its teacher: the layer's name and both widths; None where nowhere.

        Networks with the same layers are compared layer by layer, others by their widest layer.
        """
        ours, theirs = self.widths, teacher.widths
        if ours.keys() != theirs.keys():
            widest = max(ours.values()), max(theirs.values())
            return f"{widest[0]} channels against {widest[1]}" if widest[0] > widest[1] else None
        for name, width in ours.items():
            if width > theirs[name]:
                return f"{name} has {width} channels against {theirs[name]}"
        return None


@dataclass(frozen=True)
class VGGShape(Architecture):
    """Convolutions of 3 x 3 in a row, and max-pools of 2 x 2 between them; the last layer is one.

    Attributes:
        layers: output channels of each convolution, and "M" for each max-pool.
    """

    layers: Layers

    @property
    def layer_names(self) -> list[str]:
        """`conv1`, `pool1`, `conv2`, ..."""
        counts = {"conv": 0, "pool": 0}
        names = []
        for layer in self.layers:
            kind = "pool" if layer == "M" else "conv"
            counts[kind] += 1
            names.append(f"{kind}{counts[kind]}")
        return names

    @property
    def explained_layer(self) -> str:
        """The last ReLU before the last max-pool."""
        return self.layer_names[-2]

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the output of each layer, by name."""
        found, width = {}, 3
        for name, layer in zip(self.layer_names, self.layers, strict=True):
            width = width if layer == "M" else layer
            found[name] = width
        return found

    @property
    def widths(self) -> dict[str, int]:
        """Output channels of each convolution, by name."""
        return {name: layer for name, layer in zip(self.layer_names, self.layers, strict=True) if layer != "M"}

    @property
    def prunable(self) -> list[str]:
        """Every convolution."""
        return list(self.widths)

    def map_sizes(self, input_size: int) -> dict[str, int]:
        """Side of the output of each layer, by name, for a square input of `input_size` pixels.

        Raises:
            UserError: the input is too small for that many max-pools.
        """
        sizes, side = {}, input_size
        for name, layer in zip(self.layer_names, self.layers, strict=True):
            side = side // 2 if layer == "M" else side
            sizes[name] = side
        if side < 1:
            raise UserError(f"input.size: {input_size} pixels are too few for {self.layers.count('M')} max-pools")
        return sizes

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        """The same shape with other widths."""
        return type(self)(tuple(widths.get(name, "M") for name in self.layer_names))


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

    stem: int
    pooled: bool
    stages: tuple[ResidualStage, ...]

    def __post_init__(self) -> None:
        if not self.stages or any(not stage.inner or stage.stride < 1 for stage in self.stages):
            raise ValueError("a residual network needs stages, each with blocks and a stride of 1 or more")

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
        found = {"conv1": self.stem}
        for name, stage in zip(self.layer_names, self.stages, strict=True):
            found |= {f"{name}.{number}.conv1": width for number, width in enumerate(stage.inner)}
            found[name] = stage.width
        return found

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


# vgg6_bn and resnet8 are for images of 56 pixels: their last map is 7 x 7 like VGG16's at 227, because the strength of
# matching depends on the map's size. resnet8 is the smallest of the family that He et al. 2016 made for CIFAR, behind
# resnet34's first convolution.
ARCHITECTURES: dict[str, Architecture] = {
    "vgg6_bn": VGGShape((16, "M", 32, "M", 64, 64, 96, "M")),
    "vgg11_bn": VGGShape((64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")),
    "vgg16_bn": VGGShape(
        (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
    ),
    "resnet8": residual(16, False, [(16, 1, 1), (32, 2, 1), (64, 2, 1)]),
    "resnet34": residual(64, True, [(64, 1, 3), (128, 2, 4), (256, 2, 6), (512, 2, 3)]),
}  # fmt: skip


def narrowed(architecture: str, width_divisor: int) -> Architecture:
    """An architecture with every width divided.

    Raises:
        UserError: a width is not divisible.
    """
    shape = ARCHITECTURES[architecture]
    if any(width % width_divisor for width in shape.widths.values()):
        raise UserError(f"width_divisor: {width_divisor} does not divide every width of {architecture}")
    return shape.with_widths({name: width // width_divisor for name, width in shape.widths.items()})


def kept_filters(filters: int, rate: float) -> int:
    """How many of a layer's filters channel pruning keeps: floor(filters * (1 - rate)), in decimal arithmetic.

    (In binary, 10 * (1 - 0.9) is below 1.)
    """
    return floor(filters * (1 - Decimal(str(rate))))


def rate_of_each(rates: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Rates by layer: `all` stands for every one of `names` that is not named itself."""
    named = {name: rate for name, rate in rates.items() if name != ALL}
    return dict.fromkeys(names, rates[ALL]) | named if ALL in rates else named
