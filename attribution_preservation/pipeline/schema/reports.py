"""Sections `tables` and `figures`: what is shown of the results."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from attribution_preservation.pipeline.schema.base import Section


class Tables(Section):
    """Tables.

    Attributes:
        note: what a reader must know about the data, in the caption of every table.
        iterations: pruning iterations that become rows; each must exist.
        minimum_pairs: below this number of `own` pairs a table shows `all` instead, and says so.
    """

    note: str
    iterations: Annotated[list[PositiveInt], Field(min_length=1)]
    minimum_pairs: NonNegativeInt


class Figures(Section):
    """Figures.

    Attributes:
        heatmap_rows: number of (image, class) pairs in the grid of heat maps.
        heatmap_iteration: pruning iteration whose students are shown.
    """

    heatmap_rows: Annotated[int, Field(ge=1, le=40)]
    heatmap_iteration: PositiveInt
