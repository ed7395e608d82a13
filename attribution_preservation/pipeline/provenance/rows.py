"""One row of results.csv: its cells, and the stage instances that may have written it."""

import csv
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.matching.names import method_names
from attribution_preservation.pipeline.provenance.trace import Keep, of_row
from attribution_preservation.pipeline.run.graph import Stage, lookup

_SCORED_BY = {"evaluate": "scores", "probe": "probes", "roar": "roar"}
_KEYS = (
    "compression",
    "teacher",
    "method",
    "seed",
    "student",
    "population",
    "metric",
)  # by these its sources are found


def row_of(path: str, number: int) -> dict[str, Any]:
    """The cells of a row; None for empty cells.

    Args:
        path: path of results.csv.
        number: number of the row, from 1 below the heading.

    Raises:
        UserError: the file has fewer rows, or the row is not a row of results.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            row = next(itertools.islice(csv.DictReader(stream), number - 1, None), None)
        if row is None:
            raise UserError(f"{path} has fewer than {number} rows")
        cells: dict[str, Any] = {column: cell or None for column, cell in row.items()}
        return cells | {key: row[key] or None for key in _KEYS} | {"seed": int(row["seed"])}
    except (ValueError, KeyError, TypeError, csv.Error):
        raise UserError(f"{path}: row {number} is damaged; restore the file (git checkout {path})") from None


def sources_of(row: Mapping[str, Any], stages: Mapping[str, Stage]) -> Keep:
    """The instances that wrote a row. If no scores are here to search, all scoring stages may have written it."""
    values = next(iter(stages.values())).values
    folders, matching = lookup(values, "folders"), lookup(values, "matching")
    methods = {name: set(method_names(name, entry)) for name, entry in matching.items()}
    scored_by = {name for name, folder in _SCORED_BY.items() if _stands(row, Path(folder))}
    return of_row(row, lookup(values, "seed_groups"), folders, methods, scored_by or set(_SCORED_BY))


def _stands(row: Mapping[str, Any], folder: Path) -> bool:
    """Whether results below a folder have a row with the same cells."""
    for path in folder.rglob("results.csv"):
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            for other in csv.DictReader(stream):
                cells = {
                    key: cell
                    for key, cell in other.items()
                    if cell and key in ("compression", "student", "method", "seed")
                }
                if other.get("metric") == row["metric"] and all(str(row[key]) == cell for key, cell in cells.items()):
                    return True
    return False
