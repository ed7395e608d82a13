"""Sections `report` and `figures`: what is shown of the results."""

from typing import Annotated

from pydantic import Field

from attribution_preservation.settings import Count, CountOrZero, Section


class Report(Section):
    """Tables and the page.

    Attributes:
        note: what a reader must know about the data, in the caption of every table.
        iterations: iterations of a student pruned in several steps that become rows, where it has them; its last one
            always does.
        minimum_pairs: below this number of `own` pairs a table shows `all` instead, and says so.
        images: how many the page's explorer shows, evenly spaced; null for all that have pairs.
    """

    note: str
    iterations: list[Count]
    minimum_pairs: CountOrZero
    images: Count | None


class Figures(Section):
    """Figures.

    Attributes:
        heatmap_rows: number of (image, class) pairs in each grid of heat maps.
    """

    heatmap_rows: Annotated[int, Field(ge=1, le=40)]
