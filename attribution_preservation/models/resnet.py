"""Residual networks of torchvision's basic blocks, whose inner widths may differ (after channel pruning)."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock

from attribution_preservation.models.network import FilterGroup, LinearHead, Network
from attribution_preservation.models.resnet_shape import ResidualStage, ResNetShape


class ResNet(Network):
    """The trunk ends with the last stage, which is matched and explained; the head averages its positions.

    Modules are called, and weights drawn, as in torchvision's ResNet.

    Args:
        shape: widths, strides and blocks.
        classes: number of logits C.
        input_size: side of the square input in pixels.
        dropout: probability before the linear layer.

    Raises:
        UserError: the input is too small.
    """

    def __init__(self, shape: ResNetShape, *, classes: int, input_size: int, dropout: float) -> None:
        super().__init__()
        shape.map_sizes(input_size)
        self._shape, self.input_size, self.explained_layer = shape, input_size, shape.explained_layer
        self.trunk = nn.Sequential()
        self.trunk.add_module("conv1", nn.Conv2d(3, shape.stem, 7, 2, padding=3, bias=False))
        self.trunk.add_module("bn1", nn.BatchNorm2d(shape.stem))
        self.trunk.add_module("relu", nn.ReLU(inplace=True))
        if shape.pooled:
            self.trunk.add_module("maxpool", nn.MaxPool2d(3, 2, padding=1))
        self.layer_index, channels = {}, shape.stem
        for name, stage in zip(shape.layer_names, shape.stages, strict=True):
            self.layer_index[name] = len(self.trunk)
            self.trunk.add_module(name, _stage(channels, stage))
            channels = stage.width
        self.head = LinearHead(channels, None, classes, dropout)
        for convolution in self.convolutions().values():
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")

    @property
    def shape(self) -> ResNetShape:
        """Widths, strides and blocks as they are now."""
        inner = {name: group.convolution.out_channels for name, group in self.filter_groups()}
        return self._shape.with_widths(self._shape.widths | inner)

    def filter_groups(self) -> Iterator[tuple[str, FilterGroup]]:
        """The first convolution of each block, by module name (`layer1.0.conv1`)."""
        for stage in self.layer_index:
            for number, block in enumerate(self.trunk.get_submodule(stage)):
                yield f"{stage}.{number}.conv1", FilterGroup(block.conv1, block.bn1, block.conv2, 1)

    def structure(self) -> dict[str, Any]:
        """Family, the shape's parts and the head's settings."""
        return {
            "family": ResNetShape.family,
            **asdict(self.shape),
            "classes": self.classes,
            "input_size": self.input_size,
            "dropout": self.head.dropout,
        }


def _stage(channels: int, stage: ResidualStage) -> nn.Sequential:
    blocks = []
    for number, inner in enumerate(stage.inner):
        blocks.append(_block(channels, inner, stage.width, 1 if number else stage.stride))
        channels = stage.width
    return nn.Sequential(*blocks)


def _block(channels: int, inner: int, width: int, stride: int) -> BasicBlock:
    downsample = None
    if stride != 1 or channels != width:
        downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    block = BasicBlock(channels, width, stride, downsample)
    if inner != width:
        block.conv1 = nn.Conv2d(channels, inner, 3, stride, padding=1, bias=False)
        block.bn1 = nn.BatchNorm2d(inner)
        block.conv2 = nn.Conv2d(inner, width, 3, padding=1, bias=False)
    return block
