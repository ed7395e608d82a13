"""Sections `data` (where images come from) and `input` (what a network is shown of them)."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from attribution_preservation.pipeline.schema.base import Section

Channel = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]


class Digits(Section):
    """Scenes of real handwriting.

    Attributes:
        seed: of the scenes; independent of the seeds of training.
        size: side of a scene in pixels.
        train_images, evaluation_images: number of scenes in each part.
    """

    seed: NonNegativeInt
    size: Annotated[int, Field(ge=48, le=512)]
    train_images: PositiveInt
    evaluation_images: PositiveInt


class Data(Section):
    """Where images, labels and masks come from.

    Attributes:
        source: `digits` is generated, `voc2012` is PASCAL VOC 2012.
        root: a VOC directory (or one that holds VOCdevkit/VOC2012) or a tar archive of one; null downloads the
            official archive.
        checksum: `md5:...` or `sha256:...` of the archive at `root`, or null to take it as it is.
        digits: how the generated scenes are made.
    """

    source: Literal["digits", "voc2012"]
    root: str | None
    checksum: Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")] | None
    digits: Digits


class Framing(Section):
    """How a whole image becomes the square that a network is shown.

    Attributes:
        size: side of the square in pixels.
        resize: None squeezes the whole image into the square; a number is the length to which the image's shorter side
            is resized, before the square is cut from its centre.
    """

    size: PositiveInt
    resize: PositiveInt | None = None

    @model_validator(mode="after")
    def _cut_from_what_is_there(self) -> "Framing":
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"a square of {self.size} pixels cannot be cut from an image resized to {self.resize}")
        return self


class Input(Framing):
    """What a network is shown: square images, normalised per channel (R, G, B in [0, 1])."""

    size: Annotated[int, Field(ge=32, le=1024)]
    mean: Annotated[list[Channel], Field(min_length=3, max_length=3)]
    std: Annotated[list[Deviation], Field(min_length=3, max_length=3)]
