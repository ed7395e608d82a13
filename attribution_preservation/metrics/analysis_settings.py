"""Section `analysis`: significance tests of the comparisons in the tables."""

from typing import Annotated

from pydantic import Field

from attribution_preservation.settings import Section, Seed


class Analysis(Section):
    """The paired bootstrap.

    Attributes:
        resamples: number of resamples.
        seed: seed of the resampling.
    """

    # All resamples are in memory at once, with a weight for every image.
    resamples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Seed
