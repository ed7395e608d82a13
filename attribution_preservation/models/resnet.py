"""ResNet34 as torchvision defines it, with blocks whose inner width may differ (after channel pruning)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet34

from attribution_preservation.models.network import FilterGroup, LinearHead, Network

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResNet34(Network):
    """torchvision's ResNet34: the trunk ends with `layer4`, which is matched and explained; the head averages it.

    Args:
        inner_widths: output channels of the first convolution of each of the 16 blocks; None as published. Only they
            may shrink: every other width enters a residual sum.
        classes: number of logits C.
        input_size: side of the square input in pixels.
    """

    def __init__(self, inner_widths: list[int] | None, *, classes: int, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        theirs = resnet34(weights=None)
        self.trunk = nn.Sequential()
        for name, module in theirs.named_children():
            if name not in ("avgpool", "fc"):
                self.trunk.add_module(name, module)
        names = [name for name, _ in self.trunk.named_children()]
        self.layer_index = {name: names.index(name) for name in _STAGES}
        self.explained_layer = _STAGES[-1]
        self.head = LinearHead(theirs.fc.in_features, None, classes, 0.0)
        for width, (_, group) in zip(inner_widths or [], self.filter_groups(), strict=False):
            group.keep(torch.arange(width))  # weights of no meaning yet: a file's are loaded into them

    @property
    def inner_widths(self) -> list[int]:
        """Output channels of the first convolution of each block."""
        return [group.convolution.out_channels for _, group in self.filter_groups()]

    def filter_groups(self) -> Iterator[tuple[str, FilterGroup]]:
        """The first convolution of each block, by module name (`layer1.0.conv1`)."""
        for stage in _STAGES:
            for number, block in enumerate(self.trunk.get_submodule(stage)):
                yield f"{stage}.{number}.conv1", FilterGroup(block.conv1, block.bn1, block.conv2, 1)

    def structure(self) -> dict[str, Any]:
        """Family, inner widths and the number of classes."""
        return {
            "family": "resnet34",
            "inner_widths": self.inner_widths,
            "classes": self.classes,
            "input_size": self.input_size,
        }
