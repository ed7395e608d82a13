"""Section `analysis`: tests of what the tables compare."""

from typing import Annotated

from pydantic import Field

from attribution_preservation.settings import Section, Seed


class Analysis(Section):
    """The paired bootstrap.

    Attributes:
        resamples: how many.
        seed: of the drawing.
    """

    # All of them are in memory at once, with a weight for every image.
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Seed
