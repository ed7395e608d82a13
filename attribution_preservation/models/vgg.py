"""The VGG family with batch normalisation, in the form used for multi-label VOC.

`vgg16_bn` is torchvision's trunk (13 convolutions, each with batch normalisation and ReLU, five max-pools) followed by
dropout and ONE linear layer, 512 * 7 * 7 -> 20 for VOC: 15.22 M parameters (supplement, Tables 1 and 2).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from attribution_preservation.models.architectures import (
    Layer,
    Layers,
    layer_names,
    map_sizes,
    narrowed,
    thinned,
)
from attribution_preservation.models.network import FilterGroup, LinearHead, Network


class VGG(Network):
    """Convolutional trunk and linear head; the trunk's last layer is the last max-pool.

    Grad-CAM looks at the map before it, after the last ReLU.

    Args:
        layers: output channels of each convolution, and "M" for each max-pool; the last is "M".
        classes: number of logits C.
        input_size: side of the square input in pixels.
        dropout: probability before the linear layer.

    Raises:
        UserError: the input is too small for that many max-pools.
    """

    def __init__(self, layers: Layers, *, classes: int, input_size: int, dropout: float) -> None:
        super().__init__()
        self.input_size = input_size
        names = layer_names(layers)
        self.map_size = map_sizes(layers, input_size)[names[-1]]
        self.layer_index, self.explained_layer = {}, names[-2]
        modules: list[nn.Module] = []
        channels = 3
        for name, layer in zip(names, layers, strict=True):
            if layer == "M":
                modules.append(nn.MaxPool2d(2))
            else:
                modules += [nn.Conv2d(channels, layer, 3, padding=1), nn.BatchNorm2d(layer), nn.ReLU()]
                channels = layer
            self.layer_index[name] = len(modules) - 1
        self.trunk = nn.Sequential(*modules)
        self.head = LinearHead(channels, self.map_size, classes, dropout)
        for module in modules:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.linear.weight, 0, 0.01)
        nn.init.zeros_(self.head.linear.bias)

    @property
    def layers(self) -> Layers:
        """Output channels of each convolution, and "M" for each max-pool."""
        kinds = [m for m in self.trunk if isinstance(m, nn.Conv2d | nn.MaxPool2d)]
        found: list[Layer] = [m.out_channels if isinstance(m, nn.Conv2d) else "M" for m in kinds]
        return tuple(found)

    def filter_groups(self) -> Iterator[tuple[str, FilterGroup]]:
        """Every convolution, by name; the last one is read by the linear layer, position by position."""
        names = [name for name in self.layer_index if name.startswith("conv")]
        convolutions = list(self.convolutions().values())
        normalizations = [m for m in self.trunk if isinstance(m, nn.BatchNorm2d)]
        consumers: list[nn.Conv2d | nn.Linear] = [*convolutions[1:], self.head.linear]
        for name, convolution, normalization, consumer in zip(
            names, convolutions, normalizations, consumers, strict=True
        ):
            positions = self.map_size**2 if consumer is self.head.linear else 1
            yield name, FilterGroup(convolution, normalization, consumer, positions)

    def structure(self) -> dict[str, Any]:
        """Family, layers and the head's settings."""
        return {
            "family": "vgg",
            "layers": self.layers,
            "classes": self.classes,
            "input_size": self.input_size,
            "dropout": self.head.dropout,
        }


def build(
    architecture: str,
    width_divisor: int,
    rates: Mapping[str, float] | None = None,
    *,
    classes: int,
    input_size: int,
    dropout: float,
) -> VGG:
    """A member of the family with every width divided by `width_divisor`, then thinned as channel pruning would.

    Args:
        architecture: a name in `attribution_preservation.models.architectures`.
        width_divisor: divides every width.
        rates: share of the filters that are missing, by the convolution's name.
        classes, input_size, dropout: as `VGG` takes them.

    Raises:
        UserError: a width is not divisible, a layer is left without filters, or the input is too small.
    """
    layers = thinned(narrowed(architecture, width_divisor), rates or {})
    return VGG(layers, classes=classes, input_size=input_size, dropout=dropout)
