"""Tables 3 and 4 of the supplement: are maps kept on ImageNet, where every network explains its own top class?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.captions import averaged_over, marks_explained
from attribution_preservation.reporting.paired_tests import PairedTests
from attribution_preservation.reporting.results import (
    Level,
    compressions,
    exclusive,
    last_levels,
    shared_seeds,
)
from attribution_preservation.reporting.summary import Score, SummaryRow, any_significant, summarize
from attribution_preservation.reporting.table import Cell, Grid, Span, Table, mean_cell, text_cell
from attribution_preservation.reporting.titles import Titles

_PUBLISHED = Path(__file__).parent / "published" / "tables_3_4.csv"
_TABLES = {"prune_weights": (3, "Unstructured pruning"), "prune_channels": (4, "Structured pruning")}
_L2_PUBLISHED = "l2_per_cell"  # what the published column fits
# metric: heading, decimals as published, population of what is a mean over pairs
METRICS = {
    "top1": (CATALOGUE["top1"].heading, 2, "own"),
    "roc_auc": (CATALOGUE["roc_auc"].heading, 2, "own"),
    "point_accuracy": (CATALOGUE["point_accuracy"].heading, 2, "own"),
    "cosine": (CATALOGUE["cosine"].heading, 3, "all"),
    "l2": (CATALOGUE["l2"].heading, 3, "all"),
    _L2_PUBLISHED: ("2 (1 - cosine) / N [1e-5], inferred", 3, "all"),
}


@dataclass(frozen=True)
class Published:
    """A published figure.

    Attributes:
        printed: the digits; empty where there is none.
        value: the number; NaN where there is none.
        best: of the published methods of one student.
    """

    printed: str
    value: float
    best: bool


@dataclass(frozen=True)
class Preservation:
    """One of the two tables.

    Attributes:
        name: of its files.
        number: in the supplement.
        title: begins its caption.
        cells: N of the column `l2_per_cell`, the published network's.
        seeds: how many.
        rows: the full network, the baselines, and every student under each method; `cells` of a row by METRICS.
        published: for each row by metric.
    """

    name: str
    number: int
    title: str
    cells: int
    seeds: int
    rows: list[SummaryRow]
    published: list[dict[str, Published]]


def one_shot_rates(
    weights: Mapping[str, Mapping[str, Any]], channels: Mapping[str, Mapping[str, float]]
) -> dict[tuple[str, str], float]:
    """By compression and student, the share that goes at once; students of other schedules are not published.

    Args:
        weights, channels: `students` of the sections `prune_weights` and `prune_channels`.
    """
    at_once = {("prune_weights", name): steps["rate"] for name, steps in weights.items() if steps["iterations"] == 1}
    return at_once | {("prune_channels", name): rates["all"] for name, rates in channels.items() if [*rates] == ["all"]}


def preservations(
    results: pd.DataFrame,
    methods: Sequence[str],
    tests: PairedTests,
    rates: Mapping[tuple[str, str], float],
    data: str,
    titles: Titles,
) -> Iterator[Preservation]:
    """Both tables; nothing where results have no top-1 accuracy.

    Top-1 is the accuracy on the labelled images. Localisation is the score of each network's own top class, right or
    wrong, as published. Cosine and l2 compare the two networks' maps of the teacher's top class. The published l2 does
    not follow from the supplement's formula. In ten of its eleven rows it fits 2 (1 - cosine) / N, with N = 3136 for
    VGG16 and 1568 for ResNet34. So the table compares it with the same quantity of our networks.

    Args:
        results: tidy results.
        methods: in this order.
        tests: of the comparisons with Naive.
        rates: by compression and student, as `one_shot_rates`: a published figure stands beside the same rate.
        data: what the results are of, in words.
        titles: what methods and compressions are called.
    """
    if not exclusive(results):
        return
    published = pd.read_csv(_PUBLISHED, dtype=str).fillna("")
    for compression in compressions(results):
        if compression not in _TABLES:
            continue
        number, title = _TABLES[compression]
        theirs = published[published["table"] == str(number)]
        cells, chosen = int(theirs["cells"].iloc[0]), last_levels(results, compression)
        seeds = shared_seeds(results, chosen, methods)
        of_seeds = results[results["seed"].isin(seeds)]
        # Tests rest on every seed: a table of fewer would be marked by what it does not show.
        made = tests if len(seeds) == results["seed"].nunique() else None
        rows = _rows(of_seeds, chosen, methods, made, cells, titles)
        yield Preservation(
            f"table_{number}",
            number,
            f"{title} on {data}",
            cells,
            len(seeds),
            rows,
            [_beside(row, theirs, rates) for row in rows],
        )


def _rows(
    results: pd.DataFrame,
    chosen: Sequence[Level],
    methods: Sequence[str],
    tests: PairedTests | None,
    cells: int,
    titles: Titles,
) -> list[SummaryRow]:
    of_population = {
        population: summarize(results, population, chosen, methods, 0, titles, tests).rows
        for population in ("own", "all")
    }
    rows = []
    for own, everyone in zip(*of_population.values(), strict=True):
        by_population = {"own": own.cells, "all": everyone.cells}
        scores = {
            metric: by_population[population][metric]
            for metric, (_, _, population) in METRICS.items()
            if metric != _L2_PUBLISHED
        }
        cosine, scale = scores["cosine"], 2e5 / cells
        scores[_L2_PUBLISHED] = Score(scale * (1 - cosine.mean), scale * cosine.deviation, cosine.best)
        rows.append(SummaryRow(own.name, own.method, own.level, own.sparsity, own.sizes, own.pairs, scores))
    return rows


def _beside(row: SummaryRow, theirs: pd.DataFrame, rates: Mapping[tuple[str, str], float]) -> dict[str, Published]:
    printed = theirs.rename(columns={"l2": _L2_PUBLISHED})
    if row.level is None:
        # The first row is the full network's; baselines were not published.
        same = rivals = printed[(printed["compression"] == "teacher") & (row.name.startswith("Teacher"))]
    else:
        rate = rates.get((row.level.compression, row.level.student), np.nan)
        of_rate = pd.to_numeric(printed["rate"]) == rate
        rivals = printed[(printed["compression"] == row.level.compression) & of_rate]
        same = rivals[rivals["method"] == row.method]
    figures = {}
    for metric in METRICS:
        digits = same[metric].iloc[0] if metric in printed and len(same) else ""
        if not digits:
            figures[metric] = Published("", float("nan"), False)
            continue
        among = rivals[metric].astype(float)
        best = among.min() if metric == _L2_PUBLISHED else among.max()
        figures[metric] = Published(digits, float(digits), len(rivals) > 1 and float(digits) == best)
    return figures


def preservation_caption(table: Preservation, note: str) -> str:
    """The caption, with the meaning of the marks and of the published figures."""
    text = f"{table.title}, Grad-CAM (supplement, Table {table.number}). Localisation: each network's own "
    text += "top class, right or wrong; cosine and l2: maps of the full network's top class in both networks. "
    text += f"{averaged_over(table.seeds)}. "
    text += "Bold: best of the methods of one student, of ours and of the published ones. "
    text += marks_explained(table.seeds, any_significant(table.rows))
    text += "In parentheses: published (Park et al. 2020), whose data and networks these figures share only in the "
    text += "profile imagenet. The published l2 is not its formula's value; it fits 2 (1 - cosine) / N, "
    text += f"N = {table.cells}, inferred from the published cosines, and stands beside that quantity of ours with the "
    text += "same N. "
    text += "n: images with a mask. "
    return text + note


def preservation_table(table: Preservation, note: str) -> Table:
    """Ours, and in parentheses the published figures."""
    headings = ["student", "network", "sparsity [%]", *(heading for heading, _, _ in METRICS.values()), "n"]
    pairs = zip(table.rows, table.published, strict=True)
    rows = [_cells(row, published) for row, published in pairs]
    return Table(table.name, preservation_caption(table, note), [Grid(headings, rows)], _numbers(table))


def _numbers(table: Preservation) -> pd.DataFrame:
    """Means, deviations and published figures."""
    rows = []
    for row, published in zip(table.rows, table.published, strict=True):
        figures: dict[str, object] = {
            "student": row.level.student if row.level else None,
            "network": row.name,
            "sparsity": row.sparsity,
            "n": row.pairs,
        }
        for metric, cell in row.cells.items():
            figures |= {metric: cell.mean, f"{metric}_deviation": cell.deviation}
            figures[f"{metric}_published"] = published[metric].value
        rows.append(figures)
    return pd.DataFrame(rows)


def _cells(row: SummaryRow, published: Mapping[str, Published]) -> list[Cell]:
    return [
        text_cell(row.level.student.replace("_", " ") if row.level else ""),
        text_cell(row.name.replace("_", " ").replace("Teacher", "Full network")),
        text_cell("" if row.sparsity is None else f"{100 * row.sparsity:.1f}"),
        *(_cell(row.cells[metric], published[metric], digits) for metric, (_, digits, _) in METRICS.items()),
        text_cell("" if np.isnan(row.pairs) else f"{row.pairs:.0f}"),
    ]


def _cell(score: Score, published: Published, digits: int) -> Cell:
    ours = mean_cell(score.mean, score.deviation, digits, score.best, score.marks)
    if not published.printed:
        return ours
    return *ours, Span(" (" if ours else "("), Span(published.printed, published.best), Span(")")
