"""The shapes of VGG networks as plain data: widths, layer names, map sizes. No torch: parameters are checked by it.

A layer is known by the name that people use: `conv3` is the third convolution's output after batch normalisation and
ReLU, `pool2` that of the second max-pool.
"""

from collections.abc import Mapping
from decimal import Decimal
from math import floor
from typing import Literal

from attribution_preservation.errors import UserError

Layer = int | Literal["M"]
Layers = tuple[Layer, ...]

# Output channels of each convolution; "M" is a 2 x 2 max-pool. vgg6_bn is for images of 56 pixels: its last map is
# 7 x 7 like VGG16's at 227, because the strength of matching depends on the map's size.
ARCHITECTURES: dict[str, Layers] = {
    "vgg6_bn": (16, "M", 32, "M", 64, 64, 96, "M"),
    "vgg11_bn": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16_bn": (
        64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M",
    ),
}  # fmt: skip


def layer_names(layers: Layers) -> list[str]:
    """Names of the layers, from input to output: `conv1`, `pool1`, `conv2`, ..."""
    counts = {"conv": 0, "pool": 0}
    names = []
    for layer in layers:
        kind = "pool" if layer == "M" else "conv"
        counts[kind] += 1
        names.append(f"{kind}{counts[kind]}")
    return names


def narrowed(architecture: str, width_divisor: int) -> Layers:
    """An architecture with every width divided.

    Raises:
        UserError: a width is not divisible.
    """
    layers = ARCHITECTURES[architecture]
    if any(layer != "M" and layer % width_divisor for layer in layers):
        raise UserError(f"width_divisor: {width_divisor} does not divide every width of {architecture}")
    return tuple(layer if layer == "M" else layer // width_divisor for layer in layers)


def kept_filters(filters: int, rate: float) -> int:
    """How many of a layer's filters channel pruning keeps: floor(filters * (1 - rate)), in decimal arithmetic.

    (In binary, 10 * (1 - 0.9) is below 1.)
    """
    return floor(filters * (1 - Decimal(str(rate))))


def thinned(layers: Layers, rates: Mapping[str, float]) -> Layers:
    """The layers that channel pruning leaves.

    Args:
        layers: before.
        rates: share of the filters to remove, by the convolution's name; 0 where it is not named.

    Raises:
        UserError: a name is no convolution's, or a layer would lose all of its filters.
    """
    names = layer_names(layers)
    if unknown := [name for name in rates if name not in names or name.startswith("pool")]:
        convolutions = [name for name in names if name.startswith("conv")]
        raise UserError(
            f"{unknown[0]}: there is no such convolution; there are {convolutions[0]} to {convolutions[-1]}"
        )
    left: list[Layer] = []
    for name, layer in zip(names, layers, strict=True):
        if layer == "M":
            left.append(layer)
            continue
        kept = kept_filters(layer, rates.get(name, 0.0))
        if kept < 1:
            raise UserError(f"{name}: a rate of {rates[name]} leaves none of its {layer} filters")
        left.append(kept)
    return tuple(left)


def channels(layers: Layers) -> dict[str, int]:
    """Channels of the output of each layer, by name."""
    found, width = {}, 3
    for name, layer in zip(layer_names(layers), layers, strict=True):
        width = width if layer == "M" else layer
        found[name] = width
    return found


def map_sizes(layers: Layers, input_size: int) -> dict[str, int]:
    """Side of the output of each layer, by name, for a square input of `input_size` pixels.

    Raises:
        UserError: the input is too small for that many max-pools.
    """
    sizes, side = {}, input_size
    for name, layer in zip(layer_names(layers), layers, strict=True):
        side = side // 2 if layer == "M" else side
        sizes[name] = side
    if side < 1:
        raise UserError(f"input.size: {input_size} pixels are too few for {layers.count('M')} max-pools")
    return sizes


def wider_than(student: Layers, teacher: Layers) -> str | None:
    """Where a student has more channels than its teacher: the layer's name and both widths; None where nowhere.

    Networks of the same depth are compared layer by layer, others by their widest layer.
    """
    widths = [[layer for layer in layers if layer != "M"] for layers in (student, teacher)]
    if len(widths[0]) != len(widths[1]):
        widest = [max(found) for found in widths]
        return f"{widest[0]} channels against {widest[1]}" if widest[0] > widest[1] else None
    for number, (ours, theirs) in enumerate(zip(*widths, strict=True), start=1):
        if ours > theirs:
            return f"conv{number} has {ours} channels against {theirs}"
    return None
