"""Section `input`: how an image becomes the square input of a network."""

from typing import Annotated

from pydantic import Field, model_validator

from attribution_preservation.settings import Section, Side, between

Channel = Annotated[float, Field(ge=0, le=1)]
# Images are divided by it. Real images have at least a quarter of a step of the 8-bit scale.
Deviation = Annotated[float, Field(gt=0, le=1), between(0.001, 1)]


class Framing(Section):
    """How a whole image becomes the square input of a network.

    Attributes:
        size: side of the square in pixels.
        resize: None squeezes the whole image into the square. A number is the length to which the image's shorter side
            is resized; the square is then cut from the centre.
    """

    size: Side
    resize: Annotated[int, Field(gt=0, le=8192)] | None = None

    @model_validator(mode="after")
    def _cut_from_what_is_there(self) -> "Framing":
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"a square of {self.size} pixels cannot be cut from an image resized to {self.resize}")
        return self


class Input(Framing):
    """Input of a network: square images, normalised per channel (R, G, B in [0, 1])."""

    size: Annotated[int, Field(ge=32, le=1024)]
    mean: Annotated[list[Channel], Field(min_length=3, max_length=3)]
    std: Annotated[list[Deviation], Field(min_length=3, max_length=3)]
