"""The VGG family with batch normalisation, in the form used for multi-label VOC and in torchvision's.

`vgg16_bn` has torchvision's trunk: 13 convolutions, each with batch normalisation and ReLU, and five max-pools. After
it come dropout and ONE linear layer, 512 * 7 * 7 -> 20 for VOC: 15.22 M parameters (supplement, Tables 1 and 2). With
hidden layers (4096, 4096) it is torchvision's whole network, as in Tables 3 and 4 for ImageNet.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from attribution_preservation.models.network import FilterGroup, HiddenHead, LinearHead, Network
from attribution_preservation.models.vgg_shape import Layer, Layers, VGGShape


class VGG(Network):
    """Convolutional trunk and linear layers; the trunk's last layer is the last max-pool.

    Grad-CAM looks at the map before it, after the last ReLU.

    Args:
        layers: output channels of each convolution, and "M" for each max-pool; the last is "M".
        classes: number of logits C.
        input_size: side of the square input in pixels.
        dropout: probability before the linear layer, or behind each hidden one.
        hidden: widths of hidden linear layers before the last.

    Raises:
        UserError: the input is too small for that many max-pools.
    """

    torchvision_trunk = "features."

    def __init__(
        self, layers: Layers, *, classes: int, input_size: int, dropout: float, hidden: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.input_size = input_size
        shape = VGGShape(layers)
        self.map_size = shape.map_sizes(input_size)[shape.last_layer]
        self.layer_index, self.explained_layer = {}, shape.explained_layer
        modules: list[nn.Module] = []
        channels = 3
        for name, layer in zip(shape.layer_names, layers, strict=True):
            if layer == "M":
                modules.append(nn.MaxPool2d(2))
            else:
                modules += [nn.Conv2d(channels, layer, 3, padding=1), nn.BatchNorm2d(layer), nn.ReLU()]
                channels = layer
            self.layer_index[name] = len(modules) - 1
        self.trunk = nn.Sequential(*modules)
        if hidden:
            self.head = HiddenHead(channels, self.map_size, hidden, classes, dropout)
        else:
            self.head = LinearHead(channels, self.map_size, classes, dropout)
        for module in modules:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
        for linear in self.head.linears:
            nn.init.normal_(linear.weight, 0, 0.01)
            nn.init.zeros_(linear.bias)

    @property
    def layers(self) -> Layers:
        """Output channels of each convolution, and "M" for each max-pool."""
        kinds = [m for m in self.trunk if isinstance(m, nn.Conv2d | nn.MaxPool2d)]
        layers: list[Layer] = [m.out_channels if isinstance(m, nn.Conv2d) else "M" for m in kinds]
        return tuple(layers)

    def filter_groups(self) -> Iterator[tuple[str, FilterGroup]]:
        """Every convolution, by name; the last one is read by a linear layer, position by position."""
        names = [name for name in self.layer_index if name.startswith("conv")]
        convolutions = list(self.convolutions().values())
        normalizations = [m for m in self.trunk if isinstance(m, nn.BatchNorm2d)]
        consumers: list[nn.Conv2d | nn.Linear] = [*convolutions[1:], self.head.linears[0]]
        for name, convolution, normalization, consumer in zip(
            names, convolutions, normalizations, consumers, strict=True
        ):
            positions = self.map_size**2 if isinstance(consumer, nn.Linear) else 1
            yield name, FilterGroup(convolution, normalization, consumer, positions)

    def structure(self) -> dict[str, Any]:
        """Family, layers and the head's settings; of a linear head nothing about hidden layers."""
        hidden = [linear.out_features for linear in self.head.linears[:-1]]
        return {
            "family": VGGShape.family,
            "layers": self.layers,
            "classes": self.classes,
            "input_size": self.input_size,
            "dropout": self.head.dropout,
            **({"hidden": hidden} if hidden else {}),
        }
