"""The shape of a VGG: convolutions in a row, and max-pools between them.

`conv3` is the third convolution's output after batch normalisation and ReLU, `pool2` the output of the second max-pool.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import Architecture

if TYPE_CHECKING:
    from attribution_preservation.models.network import Network

Layer = int | Literal["M"]
Layers = tuple[Layer, ...]


@dataclass(frozen=True)
class VGGShape(Architecture):
    """Convolutions of 3 x 3 in a row, and max-pools of 2 x 2 between them; the last layer is one.

    Attributes:
        layers: output channels of each convolution, and "M" for each max-pool.
    """

    family: ClassVar = "vgg"
    sequential: ClassVar = True
    layers: Layers

    @classmethod
    def from_structure(cls, structure: dict[str, Any]) -> Self:
        """From `layers`."""
        return cls(tuple(structure.pop("layers")))

    def network(self, *, classes: int, input_size: int, dropout: float, hidden: Iterable[int] = ()) -> "Network":
        """A network of this shape with initial weights, and with any hidden layers.

        Raises:
            UserError: the input is too small.
        """
        from attribution_preservation.models.vgg import VGG  # torch

        return VGG(self.layers, classes=classes, input_size=input_size, dropout=dropout, hidden=tuple(hidden))

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
        channels, width = {}, 3
        for name, layer in zip(self.layer_names, self.layers, strict=True):
            width = width if layer == "M" else layer
            channels[name] = width
        return channels

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
