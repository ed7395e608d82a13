"""The figures of the page, with a description in words for readers who do not see them."""

import csv
import io
from dataclasses import dataclass
from pathlib import PurePath

_GRIDS = {
    "heatmaps": "Pictures, and over each the Grad-CAM map of the full network and of its student under every method",
    "transfer": "Matrix of scores: what was matched in training, against every attribution method",
}


@dataclass(frozen=True)
class Figure:
    """A picture of the page.

    Attributes:
        path: from the page.
        title: names it in a list.
        alt: what it shows, in words.
        size: width and height in pixels, for which the page keeps space; None where they are unknown.
    """

    path: str
    title: str
    alt: str
    size: tuple[int, int] | None = None


def page_figure(path: str, numbers: str | None, size: tuple[int, int] | None = None) -> Figure:
    """A figure of the stage figures.

    Args:
        path: from the page.
        numbers: text of the CSV file beside it (columns `y`, `x`, `line`); None where it has none.
        size: width and height in pixels.
    """
    title = PurePath(path).stem.replace("_", " ")
    if numbers is None:
        kind = next((words for name, words in _GRIDS.items() if title.startswith(name)), "Picture")
        return Figure(path, title, f"{kind}: {title}", size)
    rows = list(csv.DictReader(io.StringIO(numbers)))
    panels, across, lines = (", ".join(dict.fromkeys(row[column] for row in rows)) for column in ("y", "x", "line"))
    along = f" by {across}" if across.strip(", ") else ""
    alt = f"{title}: {' '.join(panels.split())}{along}; a line or points each for {lines}"
    return Figure(path, title, alt, size)
