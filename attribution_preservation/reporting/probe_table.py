"""Tables of what networks made of changed images: areas under removal, and what noise costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.captions import averaged_over
from attribution_preservation.reporting.paired_tests import ALPHA, MARK, PairedTests, corrected
from attribution_preservation.reporting.results import (
    Level,
    full_networks,
    last_of_all,
    present,
    select,
    shared_seeds,
    values_of_at,
)
from attribution_preservation.reporting.table import Cell, Grid, Table, mean_cell, text_cell
from attribution_preservation.reporting.titles import Titles

OWN, OTHERS, CHANCE = "own_grad_cam", "other_images_grad_cam", "random"  # what orders the pixels
# what a network's own map is contrasted with: heading
_CONTRASTED = {"teachers_grad_cam": "teacher's map", OTHERS: "another image's map", CHANCE: "random order"}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: with its unit.
        metric, attribution: as in results.csv; None where the metric has no order of pixels.
        at: value of the metric's parameter; None where it has none.
        reference: what a test compares with, `naive`, or `zero` where the metric is a difference already.
        digits: decimals.
    """

    heading: str
    metric: str
    attribution: str | None
    reference: str = "naive"
    digits: int = 1
    at: str | None = None


AREAS = [
    *(Column(CATALOGUE[metric].heading, metric, OWN) for metric in ("insertion_area", "deletion_area")),
    *(
        Column(CATALOGUE[metric].label(order), metric, OWN, "zero", at=at)
        for metric in ("insertion_over", "deletion_under")
        for at, order in _CONTRASTED.items()
    ),
]


def shares(results: pd.DataFrame) -> list[int]:
    """Shares of pixels that were removed, in percent, between none and all: what areas are sums over."""
    return [*sorted(int(share) for share in values_of_at(results, "least_score")), 100]


def noise_columns(results: pd.DataFrame) -> list[Column]:
    """Two columns for each region and noise: the loss of average precision, and its correlation with moved maps.

    The second column is a rank correlation over the images of one network: of that loss, with the cosine of the image's
    maps to the teacher's maps. It is negative if images whose maps moved lose more.
    """
    columns = []
    for at in values_of_at(results, "ap_lost"):
        region, deviation = at.split("/")
        heading = f"{region}, noise {deviation}"
        columns.append(Column(heading, "ap_lost", None, at=at))
        association = CATALOGUE["association_ap_lost"]
        columns.append(Column(association.label(heading), association.name, None, digits=association.digits, at=at))
    return columns


def probed(
    results: pd.DataFrame,
    methods: Sequence[str],
    columns: Sequence[Column],
    population: str | None,
    tests: PairedTests | None = None,
) -> pd.DataFrame:
    """Figures of teachers and of every student that was probed.

    Args:
        results: tidy results.
        methods: in this order.
        columns: of the table.
        population: of pairs; None where figures are of whole images.
        tests: of the comparisons with Naive.

    Returns:
        One row per network: teacher, compression, student, iteration, epoch, method, n (mean number of pairs or images)
        and for every column its mean and deviation (ddof 1); of a comparison the difference, its confidence interval
        and p, corrected for the comparisons of the column; whether that is significant, and whether there was a
        comparison that could not be tested.
    """
    levels = last_of_all(results)
    networks: list[tuple[Level | None, str, pd.DataFrame]] = []
    if population != "common":
        networks += [(None, "teacher", rows) for rows in full_networks(results).values()]
    for level in levels:
        rows = level.of(results)
        rows = rows[rows["seed"].isin(shared_seeds(results, [level], methods))]
        named = [*(["teacher"] if population == "common" else []), *present(rows, methods)]
        networks += [(level, method, select(rows, method=method)) for method in named]
    first = columns[0]
    networks = [entry for entry in networks if len(_rows(entry[2], first, population)) or not entry[0]]
    means = []
    for level, method, rows in networks:
        where = vars(level) if level else {"compression": "teacher", "student": None, "iteration": None, "epoch": None}
        where = where | {"teacher": rows["teacher"].iloc[0]}
        counts = _rows(rows, columns[0], population)["n"].astype(float)
        row: dict[str, object] = {**where, "method": method, "n": counts.mean()}
        for column in columns:
            values = _values(rows, column, population)
            row[column.heading] = values.mean()
            row[f"{column.heading} deviation"] = values.std(ddof=1)
        means.append(row)
    headings = [word for column in columns for word in (column.heading, f"{column.heading} deviation")]
    frame = pd.DataFrame(means, columns=["teacher", *Level.__annotations__, "method", "n", *headings])
    frame = frame.astype({"iteration": "Int64", "epoch": "Int64"})
    for column in columns:
        named = {"attribution": column.attribution} if column.attribution else {}
        made = {}
        for place, (level, method, _) in enumerate(networks):
            where = {"population": population or "all", "reference": column.reference, "at": column.at or "", **named}
            if tests and level and (test := tests.find(level, method, column.metric, **where)):
                made[place] = test
        adjusted = corrected({place: test.p for place, test in made.items()})
        for place, test in made.items():
            for name in ("difference", "low", "high"):
                frame.loc[place, f"{column.heading} {name}"] = getattr(test, name)
            frame.loc[place, f"{column.heading} p"] = adjusted[place]
        frame[f"{column.heading} significant"] = [adjusted.get(place, 1.0) < ALPHA for place in range(len(frame))]
        frame[f"{column.heading} untested"] = [bool(np.isnan(adjusted.get(place, 0.0))) for place in range(len(frame))]
    return frame


def _rows(rows: pd.DataFrame, column: Column, population: str | None) -> pd.DataFrame:
    return select(rows, metric=column.metric, at=column.at, attribution=column.attribution, population=population)


def _values(rows: pd.DataFrame, column: Column, population: str | None) -> pd.Series:
    return _rows(rows, column, population)["value"].dropna()


def probe_table(
    frame: pd.DataFrame, columns: Sequence[Column], name: str, title: str, titles: Titles, note: str, seeds: int
) -> Table:
    """`probed` as people read it."""
    several = frame["teacher"].nunique() > 1
    rows = []
    for _, row in frame.iterrows():
        of_student = row["method"] == "teacher" and not pd.isna(row["student"])
        which = ", same pairs" if of_student else f" ({row['teacher']})" if several and pd.isna(row["student"]) else ""
        rows.append(
            [
                text_cell("" if row["compression"] == "teacher" else titles.compression(row["compression"])),
                text_cell("" if pd.isna(row["student"]) else row["student"].replace("_", " ")),
                text_cell(titles.method(row["method"]) + which),
                *(_cell(row, column) for column in columns),
                text_cell("" if pd.isna(row["n"]) else f"{row['n']:.0f}"),
            ]
        )
    text = f"{title}. {averaged_over(seeds)}. "
    text += f"{MARK}: differs from Naive (over and under: from 0) by a paired test over images and "
    text += f"seeds, p < {ALPHA} after Holm's correction for the comparisons of the column; no test: too few seeds, or "
    text += "pairs on too few images. "
    text += f"n: mean number of pairs or images. {note}"
    headings = ["compression", "student", "method", *(column.heading for column in columns), "n"]
    return Table(name, text, [Grid(headings, rows)], frame, labels=3)


def _cell(row: pd.Series, column: Column) -> Cell:
    marks = MARK if row[f"{column.heading} significant"] else ""
    marks += " (no test)" if row[f"{column.heading} untested"] else ""
    mean, deviation = row[column.heading], row[f"{column.heading} deviation"]
    return mean_cell(mean, deviation, column.digits, marks=marks) or text_cell(marks)
