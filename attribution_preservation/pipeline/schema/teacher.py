"""Section `teacher`: the network that is compressed later."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from attribution_preservation.pipeline.schema.base import Section
from attribution_preservation.pipeline.schema.optimization import Optimization


class Teacher(Section):
    """The full network and its training.

    Attributes:
        architecture: a name in `attribution_preservation.models.vgg`.
        width_divisor: divides the width of every convolution (1: as published).
        dropout: before the last linear layer.
        init: `scratch`, or `imagenet` for torchvision's weights (downloaded once, checksum verified).
        optimization: the schedule.
    """

    architecture: Literal["vgg16_bn", "vgg11_bn", "vgg6_bn"]
    width_divisor: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    init: Literal["scratch", "imagenet"]
    optimization: Optimization
