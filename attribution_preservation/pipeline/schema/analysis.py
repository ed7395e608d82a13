"""Section `analysis`: tests of what the tables compare."""

from typing import Annotated

from pydantic import Field, NonNegativeInt

from attribution_preservation.pipeline.schema.base import Section


class Analysis(Section):
    """The paired bootstrap.

    Attributes:
        resamples: how many.
        seed: of the drawing.
    """

    resamples: Annotated[int, Field(ge=100)]
    seed: NonNegativeInt
