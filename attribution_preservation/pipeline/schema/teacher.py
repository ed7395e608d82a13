"""Section `teacher`: the network that is compressed later."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from attribution_preservation.pipeline.schema.base import Section
from attribution_preservation.pipeline.schema.optimization import Optimization

Dropout = Annotated[float, Field(ge=0, lt=1)]
DROPOUT = TypeAdapter(Dropout, config=ConfigDict(strict=True))


class Teacher(Section):
    """The full network and its training.

    Attributes:
        architecture: a name in `attribution_preservation.models.architectures`.
        width_divisor: divides the width of every convolution (1: as published).
        dropout: before the last linear layer.
        init: `scratch`, or `imagenet` for torchvision's weights (downloaded once, checksum verified).
        optimization: the schedule.
    """

    architecture: Literal["vgg16_bn", "vgg11_bn", "vgg6_bn"]
    width_divisor: Literal[1, 2, 4, 8, 16]
    dropout: Dropout
    init: Literal["scratch", "imagenet"]
    optimization: Optimization

    @model_validator(mode="after")
    def _weights_exist(self) -> Self:
        if self.init == "imagenet" and (self.architecture == "vgg6_bn" or self.width_divisor != 1):
            raise ValueError("teacher.init: there are ImageNet weights for vgg16_bn and vgg11_bn in full width only")
        return self
