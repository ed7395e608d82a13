"""Section `teacher`: the networks that are compressed later."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from attribution_preservation.entries import every, load
from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.optimization import Optimization
from attribution_preservation.settings import Dropout, Name, Section

# torchvision's VGG has 4096; the first one is multiplied by every cell of the trunk's last map.
Width = Annotated[int, Field(gt=0, le=65_536)]
DROPOUT = TypeAdapter(Dropout, config=ConfigDict(strict=True))
SCHEDULE: TypeAdapter[Optimization | None] = TypeAdapter(Optimization | None, config=ConfigDict(strict=True))


class FullNetwork(Section):
    """A network before compression.

    Attributes:
        architecture: a name in `attribution_preservation.models.networks`.
        width_divisor: divides the width of every convolution (1: as published).
        hidden: widths of the classifier's hidden layers; none for a head of one linear layer.
        dropout: before the last linear layer, and behind every hidden one.
        init: `scratch`, or `imagenet` for torchvision's weights (IMAGENET1K_V1, downloaded once): those of the trunk,
            and where the data has ImageNet's classes those of the head as well.
        weights: `sha256:` and the first 8 to 64 hexadecimal digits of the checksum of torchvision's file; null for
            `scratch`.
    """

    architecture: str
    width_divisor: Annotated[int, Field(ge=1, le=64)]
    hidden: list[Width]
    dropout: Dropout
    init: Literal["scratch", "imagenet"]
    weights: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{8,64}$")] | None

    @model_validator(mode="after")
    def _weights_exist(self) -> Self:
        if self.init == "imagenet":
            entry = load(NamedArchitecture, self.architecture)
            if entry is None or entry.weights is None or self.width_divisor != 1:
                published = ", ".join(name for name, each in every(NamedArchitecture).items() if each.weights)
                raise ValueError(f"init: there are ImageNet weights for {published} in full width only")
        if (self.init == "imagenet") != (self.weights is not None):
            raise ValueError("weights: init: imagenet needs the checksum of torchvision's file, nothing else has one")
        return self


class Teacher(Section):
    """The full networks and their training.

    Attributes:
        networks: by name; each compression says which one it starts from.
        optimization: the schedule of all of them; null takes pretrained networks as they are.
    """

    networks: Annotated[dict[Name, FullNetwork], Field(min_length=1)]
    optimization: Optimization | None

    @model_validator(mode="after")
    def _something_was_learnt(self) -> Self:
        untrained = [name for name, network in self.networks.items() if network.init == "scratch"]
        if self.optimization is None and untrained:
            raise ValueError(f"optimization: {untrained[0]} starts from scratch and has to be trained")
        return self
