"""The transfer matrix: what was matched in training, against every attribution method that maps are made with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from attribution_preservation.drawing import blank_figure, default_settings, write_figure
from attribution_preservation.reporting.results import (
    BASELINES,
    Level,
    compressions,
    display_name,
    full_network,
    last_levels,
    present,
    select,
)
from attribution_preservation.reporting.significance import ALPHA, MARK, PairedTests, significant
from attribution_preservation.reporting.table import Grid, Table, text_cell

# metric: heading, decimals
METRICS = {
    "cosine": ("cosine to the teacher's map", 2),
    "correlation": ("correlation with the teacher's map", 2),
    "roc_auc": ("ROC-AUC [%]", 1),
    "point_accuracy": ("point accuracy [%]", 1),
    "absorbed": ("relevance that does not arrive [%]", 1),
}
DRAWN = ("cosine", "correlation", "roc_auc", "point_accuracy")
SHOWN = ("common", "all")  # rows over their own pairs could not be compared with each other
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
    for compression in compressions(results):
        for level in last_levels(results, compression):
            rows = level.of(results)
            named = present(rows, methods)
            rows = rows[rows["method"].isin(named)]
            rows = select(rows, metric="roc_auc")
            attributions = [found for found in rows["attribution"].dropna().unique() if found not in BASELINES]
            if named and len(attributions) > 1:
                yield level, named, attributions


def transfer(
    results: pd.DataFrame,
    level: Level,
    methods: Sequence[str],
    attributions: Sequence[str],
    metric: str,
    population: str,
    tests: PairedTests | None = None,
) -> Transfer:
    """The matrix of one student.

    Args:
        results: tidy results.
        level: the student's networks.
        methods: that were matched in training, in this order.
        attributions: columns, in this order.
        metric: a key of METRICS.
        population: `own`, `common` or `all`.
        tests: of the comparisons with Naive.
    """
    rows = select(level.of(results), metric=metric, population=population)
    full = select(full_network(results, level), metric=metric, population=population)
    named = {display_name(method): select(rows, method=method) for method in methods}
    sources = {"Teacher": select(rows, method="teacher") if population == "common" else full} | named
    sources |= {text: select(rows, method=name) for name, text in BASELINES.items()}
    columns = [found for found in attributions if (rows["attribution"] == found).any()]
    values, counts = (
        {
            name: found.pivot(index="seed", columns="attribution", values=column).reindex(columns=columns).astype(float)
            for name, found in sources.items()
            if len(found)
        }
        for column in ("value", "n")
    )
    shared = sorted(set.intersection(*(set(found.index) for found in values.values())))
    everywhere = np.logical_and.reduce([found.loc[shared].notna() for found in values.values()])
    values = {name: found.loc[shared].where(everywhere) for name, found in values.items()}
    mean = pd.DataFrame({name: found.mean() for name, found in values.items()}).T
    deviation = pd.DataFrame({name: found.std(ddof=1) for name, found in values.items()}).T
    pairs = pd.DataFrame({name: found.loc[shared].where(everywhere).mean() for name, found in counts.items()}).T
    ahead = pd.DataFrame(False, index=mean.index, columns=columns)
    if (naive := display_name("naive")) in mean.index and metric != "absorbed":
        # NaN with one seed: nothing is ahead.
        larger = deviation.apply(lambda row: np.maximum(row, deviation.loc[naive]), axis=1)
        ahead = (mean - mean.loc[naive] > larger) & mean.index.isin(list(named))[:, None]
    found = {
        (display_name(method), attribution): test.p
        for method in methods
        for attribution in columns
        if tests and (test := tests.find(level, method, metric, population, attribution))
    }
    differs = pd.DataFrame(False, index=mean.index, columns=columns)
    for name, attribution in significant(found):
        differs.loc[name, attribution] = True
    return Transfer(mean, deviation, ahead, differs, pairs, pd.Series(everywhere.sum(axis=0), index=columns))


def transfer_table(matrices: dict[str, Transfer], name: str, title: str, note: str) -> Table:
    """All metrics of one student, one grid below the other."""
    text = f"{title}. Rows: what was matched in training; columns: what maps are made with. "
    text += "Mean ± sample deviation over those seeds for which every row has a value, as counted below; "
    text += "n: mean number of pairs; costly methods explain fewer, evenly spaced. "
    text += "†: ahead of Naive by more than the larger of the two deviations. "
    text += (
        f"{MARK}: differs from Naive, p < {ALPHA} in a paired bootstrap over images and seeds, corrected (Holm) for "
    )
    text += "the cells of its table. "
    if signed := [display_name(a) for a in next(iter(matrices.values())).mean.columns if a in _FROM_THE_LOGIT]:
        names = " and ".join(signed)
        text += f"The relevance of {names} begins with the logit: maps turn over where the class is not predicted. "
    grids = []
    for metric, found in matrices.items():
        if found.mean.empty:
            continue
        heading, digits = METRICS[metric]
        columns = list(found.mean.columns)
        rows = [
            [text_cell(str(row)), *(text_cell(_text(found, row, a, digits)) for a in columns)]
            for row in found.mean.index
        ]
        footers = [
            [text_cell(row), *(text_cell(f"{count:.0f}") for count in counts)]
            for row, counts in (("n", _counted(found)), ("seeds", found.seeds))
        ]
        grids.append(Grid([heading, *map(display_name, columns)], rows, footers))
    return Table(name, text + note, grids, None, labels=1)


def _text(found: Transfer, row: object, attribution: str, digits: int) -> str:
    mean, deviation = found.mean.at[row, attribution], found.deviation.at[row, attribution]
    return _cell(mean, deviation, digits) + _marks(found, row, attribution)


def transfer_numbers(matrices: dict[tuple[str, str], Transfer]) -> pd.DataFrame:
    """Tidy rows of matrices by (population, metric)."""
    rows = [
        {
            "population": population,
            "metric": metric,
            "matched": name,
            "attribution": attribution,
            "mean": found.mean.at[name, attribution],
            "deviation": found.deviation.at[name, attribution],
            "n": found.pairs.at[name, attribution],
            "seeds": found.seeds[attribution],
        }
        for (population, metric), found in matrices.items()
        for name in found.mean.index
        for attribution in found.mean.columns
    ]
    return pd.DataFrame(rows)


@default_settings()
def draw_transfer(matrices: dict[str, Transfer], title: str, path: Path) -> None:
    """The matrix as a heat map, one panel per metric; every cell bears its mean, and the table's marks."""
    columns = max(len(found.mean.columns) for found in matrices.values())
    figure = blank_figure(3.5 + 0.85 * columns, 1.2 + 2 * len(matrices))
    axes = figure.subplots(len(matrices), 1, sharex=True, squeeze=False)
    for ax, (metric, found) in zip(axes[:, 0], matrices.items(), strict=True):
        heading, digits = METRICS[metric]
        values = found.mean.to_numpy(dtype=float)
        image = ax.imshow(values, cmap="cividis", aspect="auto")
        known = values[~np.isnan(values)]
        middle = (known.min() + known.max()) / 2 if known.size else 0
        for i, name in enumerate(found.mean.index):
            for j, attribution in enumerate(found.mean.columns):
                color = "black" if values[i, j] > middle else "white"
                text = _cell(values[i, j], np.nan, digits) + _marks(found, name, attribution)
                # It lies within its cell; to lay out hundreds of texts takes seconds.
                ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color, in_layout=False)
        names = [
            f"{fill(display_name(a).replace('_', ' '), 13)}\nn = {count:.0f}\nseeds: {found.seeds[a]}"
            for a, count in _counted(found).items()
        ]
        ax.set_xticks(range(len(names)), names, fontsize=7)
        ax.set_yticks(range(len(found.mean.index)), found.mean.index, fontsize=8)
        ax.set_ylabel("matched in training", fontsize=8)
        figure.colorbar(image, ax=ax, pad=0.01).set_label(heading, fontsize=8)
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def _marks(found: Transfer, name: str, attribution: str) -> str:
    return ("†" if found.ahead.at[name, attribution] else "") + (
        MARK if found.significant.at[name, attribution] else ""
    )


def _counted(found: Transfer) -> pd.Series:
    """Pairs by attribution method: the same for every row of a population that rows share."""
    return found.pairs.max().fillna(0)


def _cell(mean: float, deviation: float, digits: int) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:z.{digits}f}" + ("" if np.isnan(deviation) else f" ± {deviation:.{digits}f}")
