"""The VGG family with batch normalisation, in the form used for multi-label VOC.

`vgg16_bn` is torchvision's trunk (13 convolutions, each with batch normalisation and ReLU, five max-pools) followed by
dropout and ONE linear layer, 512 * 7 * 7 -> 20 for VOC: 15.22 M parameters (supplement, Tables 1 and 2).
"""

from typing import Literal

import torch
from torch import nn

from attribution_preservation.errors import UserError

Layer = int | Literal["M"]

# Output channels of each convolution; "M" is a 2 x 2 max-pool. vgg6_bn is for images of 56 pixels: its last map is
# 7 x 7 like VGG16's at 227, because the strength of matching depends on the map's size.
ARCHITECTURES: dict[str, tuple[Layer, ...]] = {
    "vgg6_bn": (16, "M", 32, "M", 64, 64, 96, "M"),
    "vgg11_bn": (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    "vgg16_bn": (
        64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M",
    ),
}  # fmt: skip


class VGG(nn.Module):
    """Convolutional trunk and linear head.

    The last layer of `trunk` is the last max-pool; its output [B, K, h, w] is the feature map that matching uses.
    The map before it, after the last ReLU, is where Grad-CAM looks.

    Args:
        layers: output channels of each convolution, and "M" for each max-pool; the last is "M".
        classes: number of logits C.
        input_size: side of the square input in pixels.
        dropout: probability before the linear layer.

    Raises:
        UserError: the input is too small for that many max-pools.
    """

    def __init__(self, layers: tuple[Layer, ...], *, classes: int, input_size: int, dropout: float) -> None:
        super().__init__()
        self.layers, self.classes, self.input_size = layers, classes, input_size
        modules: list[nn.Module] = []
        channels, side = 3, input_size
        for layer in layers:
            if layer == "M":
                modules.append(nn.MaxPool2d(2))
                side //= 2
            else:
                modules += [nn.Conv2d(channels, layer, 3, padding=1), nn.BatchNorm2d(layer), nn.ReLU()]
                channels = layer
        if side < 1:
            raise UserError(f"input.size: {input_size} pixels are too few for {layers.count('M')} max-pools")
        self.map_size = side
        self.trunk = nn.Sequential(*modules)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels * side * side, classes))
        for module in modules:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.head[-1].weight, 0, 0.01)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of normalised images [B, 3, S, S]."""
        return self.head(self.trunk(images))

    def last_activation(self, images: torch.Tensor) -> torch.Tensor:
        """Output of the last ReLU, before the last max-pool, [B, K, 2h, 2w]."""
        return self.trunk[:-1](images)

    def logits_from_activation(self, activation: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] from the output of the last ReLU."""
        return self.head(self.trunk[-1](activation))

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """The convolutions by name, from input to output."""
        return {name: m for name, m in self.named_modules() if isinstance(m, nn.Conv2d)}


def build(architecture: str, width_divisor: int, *, classes: int, input_size: int, dropout: float) -> VGG:
    """A member of the family with every width divided by `width_divisor`.

    Raises:
        UserError: a width is not divisible, or the input is too small.
    """
    layers = ARCHITECTURES[architecture]
    if any(layer != "M" and layer % width_divisor for layer in layers):
        raise UserError(f"teacher.width_divisor: {width_divisor} does not divide every width of {architecture}")
    narrow = tuple(layer if layer == "M" else layer // width_divisor for layer in layers)
    return VGG(narrow, classes=classes, input_size=input_size, dropout=dropout)
