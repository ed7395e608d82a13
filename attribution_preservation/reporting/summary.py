"""Tables: mean and deviation over seeds, best value, what is ahead of Naive by more than a deviation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.captions import AHEAD
from attribution_preservation.reporting.paired_tests import MARK, PairedTests, significant
from attribution_preservation.reporting.results import (
    BASELINES,
    REFERENCES,
    Level,
    compressions,
    exclusive,
    finished,
    last_levels,
    levels,
    populations,
    present,
    select,
    shared_seeds,
    teacher_of,
)
from attribution_preservation.reporting.titles import Titles

METRICS = ("mean_ap", "sample_ap", "f1", "top1", "roc_auc", "point_accuracy", "cosine", "l2")
SIZES = ("parameters", "nonzero_parameters", "macs", "bytes")


@dataclass(frozen=True)
class Score:
    """One figure over seeds.

    Attributes:
        mean, deviation: over seeds (ddof 1); NaN where there is no figure, or one seed.
        best: the best mean of its metric among the methods of one level.
        ahead: better than Naive by more than the larger of the two deviations.
        significant: differs from Naive by a paired test, corrected for the comparisons of its metric in the table.
    """

    mean: float
    deviation: float
    best: bool = False
    ahead: bool = False
    significant: bool = False

    @property
    def marks(self) -> str:
        """Behind the figure in a table."""
        return (AHEAD if self.ahead else "") + (MARK if self.significant else "")


@dataclass(frozen=True)
class SummaryRow:
    """One row: a network or baseline.

    Attributes:
        name: as people read it.
        method: of a network, empty for one that was trained without; None for what is no network of a level.
        level: whose networks these are; None for the teacher.
        sparsity: share of pruned weights; None where not applicable.
        sizes: means over seeds by metric, for networks.
        pairs: mean number of pairs over seeds; NaN where nothing was counted.
        cells: figures by metric.
        replaced: the pairs are all pairs, because those of the table's population were too few.
    """

    name: str
    method: str | None
    level: Level | None
    sparsity: float | None
    sizes: dict[str, float]
    pairs: float
    cells: dict[str, Score]
    replaced: bool = False


@dataclass(frozen=True)
class Plan:
    """Contents of a table.

    Attributes:
        name: of its files.
        title: begins its caption.
        chosen: levels that become rows.
        methods: in this order.
        seeds: those that every one of its networks was trained with.
    """

    name: str
    title: str
    chosen: list[Level]
    methods: list[str]
    seeds: list[int]


@dataclass(frozen=True)
class Summary:
    """Rows and what they were counted over.

    Attributes:
        over: that, in words.
        seeds: how many.
        rows: the full networks, the baselines, and every level's networks.
    """

    over: str
    seeds: int
    rows: list[SummaryRow]


def any_significant(rows: Sequence[SummaryRow]) -> bool:
    """Whether any score of some rows differs from Naive's by a test."""
    return any(score.significant for row in rows for score in row.cells.values())


def plans(results: pd.DataFrame, methods: list[str], iterations: Sequence[int], titles: Titles) -> Iterator[Plan]:
    """The tables of some results: one that holds every compression, one for each, and one of its variants.

    Args:
        results: tidy results.
        methods: that are compared; all others are variants.
        iterations: of weight pruning that become rows beside the last.
        titles: what methods and compressions are called.
    """
    last = {compression: last_levels(results, compression) for compression in compressions(results)}

    def plan(name: str, title: str, chosen: list[Level], named: list[str]) -> Plan:
        return Plan(name, title[0].upper() + title[1:], chosen, named, shared_seeds(results, chosen, named))

    yield plan("compressions", "Every compression", [level for ends in last.values() for level in ends], methods)
    for compression, ends in last.items():
        chosen = [
            level
            for level in finished(levels(results, compression))
            if level in ends or (compression == "prune_weights" and level.iteration in iterations)
        ]
        yield plan(compression, titles.compression(compression), chosen, methods)
        trained = select(results, compression=compression)["method"].dropna().unique()
        if variants := [method for method in trained if method not in (*methods, *REFERENCES)]:
            title = f"variants of matching and sweeps, {titles.compression(compression)}"
            yield plan(f"{compression}_variants", title, ends, [*methods, *variants])


def summarize(
    results: pd.DataFrame,
    population: str,
    chosen: Sequence[Level],
    methods: Sequence[str],
    minimum_pairs: int,
    titles: Titles,
    tests: PairedTests | None = None,
) -> Summary:
    """The table of some levels on one population, below the teacher and the baselines.

    Args:
        results: tidy results.
        population: `own`, `common` or `all`.
        chosen: levels that become rows, one for each method.
        methods: in this order, where a level has them; a level without any has one row, of networks without a method.
        minimum_pairs: where a network of a level (or the teacher) has fewer `own` pairs than this with some seed,
            the scores over `all` stand in for that whole level, marked; not where classes exclude each other.
        titles: what methods and compressions are called.
        tests: of the comparisons with Naive, where they were made with the same seeds.
    """
    # Every image counts for every network where classes exclude each other: none has fewer pairs than another.
    needed = 0 if exclusive(results) else minimum_pairs
    names = list(dict.fromkeys(teacher_of(results, level) for level in chosen))
    rows = _references(results, names, population, needed)
    for level in chosen:
        of_level = level.of(results)
        named = present(of_level, methods)
        if population == "common":
            teacher = select(of_level, method="teacher", attribution="grad_cam")
            rows.append(_row("Teacher, same pairs", level, teacher, None, population))
            rows += _baselines(level, select(of_level, method=None), population)
        networks = of_level[of_level["method"].isin(named)] if named else select(of_level, method=None)
        replaced = population == "own" and _fewest(select(networks, attribution="grad_cam")) < needed
        counted = "all" if replaced else population
        rows += _compare(
            {
                method or "": _row(
                    titles.network(method, level.compression),
                    level,
                    select(of_level, method=method, attribution="grad_cam"),
                    select(of_level, method=method),
                    counted,
                    replaced,
                    method or "",
                )
                for method in named or [None]
            }
        )
    if tests is not None:
        _mark(rows, tests, population)
    return Summary(populations(results)[population], results["seed"].nunique(), rows)


def _references(results: pd.DataFrame, names: Sequence[str | None], population: str, needed: int) -> list[SummaryRow]:
    """Rows of full networks, and of the baselines on their pairs: once if the networks have the same pairs."""
    networks, baselines = [], {}
    for name in names:
        full = select(results, compression="teacher", teacher=name)
        maps = select(full, attribution="grad_cam")
        replaced = population == "own" and _fewest(maps) < needed
        counted = "all" if replaced else population
        title = f"Teacher ({name})" if len(names) > 1 else "Teacher"
        networks.append(_row(title, None, maps, full, counted, replaced))
        rows = _baselines(None, full, counted, replaced)
        figures = tuple((row.pairs, row.cells["roc_auc"].mean, row.cells["point_accuracy"].mean) for row in rows)
        baselines.setdefault(figures, (title, rows))
    if population == "common":  # those of each level stand above it
        return networks
    for title, rows in baselines.values():
        networks += [replace(row, name=f"{row.name}, {title}'s pairs") for row in rows] if len(baselines) > 1 else rows
    return networks


def _row(
    name: str,
    level: Level | None,
    maps: pd.DataFrame,
    network: pd.DataFrame | None,
    population: str,
    replaced: bool = False,
    method: str | None = None,
) -> SummaryRow:
    counted = select(maps, population=population, metric="roc_auc")["n"].astype(float)
    cells, sizes = {}, {}
    for metric in METRICS:
        if CATALOGUE[metric].of_pairs:
            values = select(maps, metric=metric, population=population)["value"].dropna()
        else:
            values = network[network["metric"] == metric]["value"] if network is not None else pd.Series(dtype=float)
        cells[metric] = Score(float(values.mean()), float(values.std(ddof=1)))
    if network is not None:
        sizes = {metric: float(network[network["metric"] == metric]["value"].mean()) for metric in SIZES}
    sparsity = maps["sparsity"].dropna()
    return SummaryRow(
        name,
        method,
        level,
        float(sparsity.mean()) if len(sparsity) else None,
        {metric: size for metric, size in sizes.items() if not np.isnan(size)},
        float(counted.mean()) if len(counted) else float("nan"),
        cells,
        replaced,
    )


def _fewest(maps: pd.DataFrame) -> int:
    """The smallest number of own pairs among networks and seeds."""
    return int(select(maps, population="own", metric="roc_auc")["n"].min())


def _baselines(level: Level | None, rows: pd.DataFrame, population: str, replaced: bool = False) -> list[SummaryRow]:
    return [
        _row(text, level, select(rows, attribution=name), None, population, replaced)
        for name, text in BASELINES.items()
    ]


def _compare(rows: dict[str, SummaryRow]) -> list[SummaryRow]:
    """Mark the best of each metric, and what is ahead of Naive by more than one deviation; one row is not compared."""
    if len(rows) == 1:
        return list(rows.values())
    for metric in METRICS:
        sign = -1 if CATALOGUE[metric].better == "lower" else 1
        means = {method: sign * row.cells[metric].mean for method, row in rows.items()}
        if all(np.isnan(v) for v in means.values()):
            continue
        best = max(value for value in means.values() if not np.isnan(value))
        naive = rows["naive"].cells[metric] if "naive" in rows else None
        for method, row in rows.items():
            cell = row.cells[metric]
            larger = np.max([cell.deviation, naive.deviation]) if naive else np.nan  # NaN where either is
            ahead = bool(naive and means[method] - sign * naive.mean > larger)
            row.cells[metric] = replace(cell, best=means[method] == best, ahead=ahead)
    return list(rows.values())


def _mark(rows: Sequence[SummaryRow], tests: PairedTests, population: str) -> None:
    """Mark what differs from Naive; one family of comparisons for each metric."""
    for metric in METRICS:
        p = {}
        for place, row in enumerate(rows):
            if row.level is not None and row.method:
                counted = "all" if row.replaced else population
                test = tests.find(row.level, row.method, metric, counted)
                p |= {place: test.p} if test else {}
        for place in significant(p):
            cells = rows[place].cells
            cells[metric] = replace(cells[metric], significant=True)
