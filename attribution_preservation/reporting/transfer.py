"""The transfer matrix: what was matched in training, against every attribution method that maps are made with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from attribution_preservation.drawing import blank_figure, default_settings, write_figure
from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.paired_tests import ALPHA, MARK, PairedTests, significant
from attribution_preservation.reporting.results import (
    BASELINES,
    Level,
    full_network,
    last_of_all,
    present,
    select,
)
from attribution_preservation.reporting.table import Grid, Table, text_cell
from attribution_preservation.reporting.titles import Titles

METRICS = ("cosine", "correlation", "roc_auc", "point_accuracy", "absorbed")
_DIGITS = 2  # at most: cells are narrow
DRAWN = ("cosine", "correlation", "roc_auc", "point_accuracy")
COMPARABLE = ("common", "all")  # rows over their own pairs could not be compared with each other
_FROM_THE_LOGIT = ("lrp", "rap")


@dataclass(frozen=True)
class Transfer:
    """One metric of one student.

    A column rests on those seeds for which every row has a value in it.

    Attributes:
        mean, deviation: over seeds (ddof 1); rows: methods, below the teacher where it has the metric, above the
            baselines; columns: attribution methods that have the metric.
        ahead: better than Naive by more than the larger of the two deviations; of the same shape.
        significant: differs from Naive by a paired test, corrected for the cells of the matrix; of the same shape.
        pairs: mean number of pairs; of the same shape.
        seeds: how many, by attribution method.
    """

    mean: pd.DataFrame
    deviation: pd.DataFrame
    ahead: pd.DataFrame
    significant: pd.DataFrame
    pairs: pd.DataFrame
    seeds: pd.Series


def transferred(results: pd.DataFrame, methods: Sequence[str]) -> Iterator[tuple[Level, list[str], list[str]]]:
    """Levels whose networks were explained by several attribution methods, with matched methods and attributions."""
    for level in last_of_all(results):
        rows = level.of(results)
        named = present(rows, methods)
        rows = rows[rows["method"].isin(named)]
        rows = select(rows, metric="roc_auc")
        attributions = [name for name in rows["attribution"].dropna().unique() if name not in BASELINES]
        if named and len(attributions) > 1:
            yield level, named, attributions


def transfer(
    results: pd.DataFrame,
    level: Level,
    methods: Sequence[str],
    attributions: Sequence[str],
    metric: str,
    population: str,
    titles: Titles,
    tests: PairedTests | None = None,
) -> Transfer:
    """The matrix of one student.

    Args:
        results: tidy results.
        level: the student's networks.
        methods: that were matched in training, in this order.
        attributions: columns, in this order.
        metric: one of METRICS.
        population: `own`, `common` or `all`.
        titles: what methods are called.
        tests: of the comparisons with Naive.
    """
    rows = select(level.of(results), metric=metric, population=population)
    full = select(full_network(results, level), metric=metric, population=population)
    named = {titles.method(method): select(rows, method=method) for method in methods}
    sources = {"Teacher": select(rows, method="teacher") if population == "common" else full} | named
    sources |= {text: select(rows, method=name) for name, text in BASELINES.items()}
    columns = [name for name in attributions if (rows["attribution"] == name).any()]
    values, counts = (
        {
            name: of_one.pivot(index="seed", columns="attribution", values=column)
            .reindex(columns=columns)
            .astype(float)
            for name, of_one in sources.items()
            if len(of_one)
        }
        for column in ("value", "n")
    )
    shared = sorted(set.intersection(*(set(by_seed.index) for by_seed in values.values())))
    everywhere = np.logical_and.reduce([by_seed.loc[shared].notna() for by_seed in values.values()])
    values = {name: by_seed.loc[shared].where(everywhere) for name, by_seed in values.items()}
    mean = pd.DataFrame({name: by_seed.mean() for name, by_seed in values.items()}).T
    deviation = pd.DataFrame({name: by_seed.std(ddof=1) for name, by_seed in values.items()}).T
    pairs = pd.DataFrame({name: by_seed.loc[shared].where(everywhere).mean() for name, by_seed in counts.items()}).T
    ahead = pd.DataFrame(False, index=mean.index, columns=columns)
    if (naive := titles.method("naive")) in mean.index and metric != "absorbed":
        # NaN with one seed: nothing is ahead.
        larger = deviation.apply(lambda row: np.maximum(row, deviation.loc[naive]), axis=1)
        ahead = (mean - mean.loc[naive] > larger) & mean.index.isin(list(named))[:, None]
    p = {
        (titles.method(method), attribution): test.p
        for method in methods
        for attribution in columns
        if tests and (test := tests.find(level, method, metric, population, attribution))
    }
    differs = pd.DataFrame(False, index=mean.index, columns=columns)
    for name, attribution in significant(p):
        differs.loc[name, attribution] = True
    return Transfer(mean, deviation, ahead, differs, pairs, pd.Series(everywhere.sum(axis=0), index=columns))


def transfer_table(matrices: dict[str, Transfer], name: str, title: str, titles: Titles, note: str) -> Table:
    """All metrics of one student, one grid below the other."""
    text = f"{title}. Rows: what was matched in training; columns: what maps are made with. "
    text += "Mean ± sample deviation over those seeds for which every row has a value, as counted below; "
    text += "n: mean number of pairs; costly methods explain fewer, evenly spaced. "
    text += "†: ahead of Naive by more than the larger of the two deviations. "
    text += (
        f"{MARK}: differs from Naive, p < {ALPHA} in a paired bootstrap over images and seeds, corrected (Holm) for "
    )
    text += "the cells of its table. "
    if signed := [titles.attribution(a) for a in next(iter(matrices.values())).mean.columns if a in _FROM_THE_LOGIT]:
        names = " and ".join(signed)
        text += f"The relevance of {names} begins with the logit: maps turn over where the class is not predicted. "
    grids = []
    for metric, matrix in matrices.items():
        if matrix.mean.empty:
            continue
        columns = list(matrix.mean.columns)
        rows = [
            [text_cell(str(row)), *(text_cell(_text(matrix, row, a, _digits(metric))) for a in columns)]
            for row in matrix.mean.index
        ]
        footers = [
            [text_cell(row), *(text_cell(f"{count:.0f}") for count in counts)]
            for row, counts in (("n", _counted(matrix)), ("seeds", matrix.seeds))
        ]
        grids.append(Grid([CATALOGUE[metric].label(), *map(titles.attribution, columns)], rows, footers))
    return Table(name, text + note, grids, None, labels=1)


def _digits(metric: str) -> int:
    return min(CATALOGUE[metric].digits, _DIGITS)


def _text(matrix: Transfer, row: object, attribution: str, digits: int) -> str:
    mean, deviation = matrix.mean.at[row, attribution], matrix.deviation.at[row, attribution]
    return _cell(mean, deviation, digits) + _marks(matrix, row, attribution)


def transfer_numbers(matrices: dict[tuple[str, str], Transfer]) -> pd.DataFrame:
    """Tidy rows of matrices by (population, metric)."""
    rows = [
        {
            "population": population,
            "metric": metric,
            "matched": name,
            "attribution": attribution,
            "mean": matrix.mean.at[name, attribution],
            "deviation": matrix.deviation.at[name, attribution],
            "n": matrix.pairs.at[name, attribution],
            "seeds": matrix.seeds[attribution],
        }
        for (population, metric), matrix in matrices.items()
        for name in matrix.mean.index
        for attribution in matrix.mean.columns
    ]
    return pd.DataFrame(rows)


@default_settings()
def draw_transfer(matrices: dict[str, Transfer], title: str, titles: Titles, path: Path) -> None:
    """The matrix as a heat map, one panel per metric; every cell bears its mean, and the table's marks."""
    columns = max(len(matrix.mean.columns) for matrix in matrices.values())
    figure = blank_figure(3.5 + 0.85 * columns, 1.2 + 2 * len(matrices))
    axes = figure.subplots(len(matrices), 1, sharex=True, squeeze=False)
    for ax, (metric, matrix) in zip(axes[:, 0], matrices.items(), strict=True):
        values = matrix.mean.to_numpy(dtype=float)
        image = ax.imshow(values, cmap="cividis", aspect="auto")
        known = values[~np.isnan(values)]
        middle = (known.min() + known.max()) / 2 if known.size else 0
        for i, name in enumerate(matrix.mean.index):
            for j, attribution in enumerate(matrix.mean.columns):
                color = "black" if values[i, j] > middle else "white"
                text = _cell(values[i, j], np.nan, _digits(metric)) + _marks(matrix, name, attribution)
                # It lies within its cell; to lay out hundreds of texts takes seconds.
                ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color, in_layout=False)
        names = [
            f"{fill(titles.attribution(a).replace('_', ' '), 13)}\nn = {count:.0f}\nseeds: {matrix.seeds[a]}"
            for a, count in _counted(matrix).items()
        ]
        ax.set_xticks(range(len(names)), names, fontsize=7)
        ax.set_yticks(range(len(matrix.mean.index)), matrix.mean.index, fontsize=8)
        ax.set_ylabel("matched in training", fontsize=8)
        figure.colorbar(image, ax=ax, pad=0.01).set_label(CATALOGUE[metric].label(), fontsize=8)
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def _marks(matrix: Transfer, name: str, attribution: str) -> str:
    return ("†" if matrix.ahead.at[name, attribution] else "") + (
        MARK if matrix.significant.at[name, attribution] else ""
    )


def _counted(matrix: Transfer) -> pd.Series:
    """Pairs by attribution method: the same for every row of a population that rows share."""
    return matrix.pairs.max().fillna(0)


def _cell(mean: float, deviation: float, digits: int) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:z.{digits}f}" + ("" if np.isnan(deviation) else f" ± {deviation:.{digits}f}")
