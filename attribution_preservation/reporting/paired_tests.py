"""Which differences are more than chance: paired tests, corrected for how many a table makes, and their own table."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.metrics.significance import MINIMUM_SEEDS
from attribution_preservation.reporting.results import Level, measured, present, read_frame
from attribution_preservation.reporting.table import Grid, Table, text_cell
from attribution_preservation.reporting.titles import Titles

ALPHA = 0.05
MARK = "*"
METRICS = ("mean_ap", "top1", "roc_auc", "point_accuracy", "cosine")
_WHERE = ["compression", "student", "method", "reference", "attribution", "population", "metric", "at"]
Key = TypeVar("Key", bound=Hashable)


class Outcome(NamedTuple):
    """Result of the stage analysis for one comparison; NaN if it made no test."""

    difference: float
    low: float
    high: float
    p: float
    seeds: int


class PairedTests:
    """The tests of all comparisons.

    Args:
        frame: what the stage analysis writes.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        names = frame.reindex(columns=_WHERE).astype("string").fillna("")
        steps = [
            [None if pd.isna(step) else int(step) for step in row]
            for row in frame[["iteration", "epoch"]].itertuples(index=False)
        ]
        figures = frame[list(Outcome._fields)].itertuples(index=False)
        self._tests = {
            (Level(compression, student, *step), *rest): Outcome(*row)
            for (compression, student, *rest), step, row in zip(
                names.itertuples(index=False), steps, figures, strict=True
            )
        }

    def find(
        self,
        level: Level,
        method: str,
        metric: str,
        population: str,
        attribution: str = "grad_cam",
        reference: str = "naive",
        at: object = "",
    ) -> Outcome | None:
        """The test of one comparison.

        Args:
            level, method: whose network; method is empty for one that was trained without.
            metric, population, attribution: as in results.csv; a metric of predictions has neither of the last two.
            reference: `naive` or `teacher`.
            at: value of the metric's parameter; empty where it has none.
        """
        return self._tests.get((level, method, reference, attribution, population, metric, str(at))) or self._tests.get(
            (level, method, reference, "", "", metric, str(at))
        )


def read_tests(path: Path) -> PairedTests:
    """Read what the stage analysis writes.

    Raises:
        UserError: it is missing or damaged.
    """
    numbers = ["iteration", "epoch", *Outcome._fields]
    return PairedTests(read_frame(path, [*_WHERE, *numbers], numbers, "run the stage analysis first"))


def corrected(p: Mapping[Key, float]) -> dict[Key, float]:
    """p-values after Holm's correction for their number; values that are NaN do not count.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure. It limits the probability of one or more
    false marks in the whole family, also if the comparisons depend on each other.
    """
    known = {key: value for key, value in p.items() if not np.isnan(value)}
    adjusted, largest = dict(p), 0.0
    for rank, key in enumerate(sorted(known, key=lambda key: known[key])):
        largest = max(largest, min(1.0, (len(known) - rank) * known[key]))
        adjusted[key] = largest
    return adjusted


def significant(p: Mapping[Key, float]) -> set[Key]:
    """Those below ALPHA after the correction."""
    return {key for key, value in corrected(p).items() if value < ALPHA}


def comparisons(
    tests: PairedTests, results: pd.DataFrame, chosen: Sequence[Level], methods: Sequence[str], population: str
) -> pd.DataFrame:
    """Every comparison of some levels: Naive with the teacher, each method with Naive.

    Returns:
        One row per comparison and metric, in full precision; `corrected` is p after the correction for the number of
        comparisons with the same metric and reference.
    """
    rows = []
    for level in chosen:
        named = present(level.of(results), methods)
        pairs = [("naive", "teacher")] if "naive" in named else [(method, "teacher") for method in named or [""]]
        pairs += [(method, "naive") for method in named if method != "naive" and "naive" in named]
        for method, reference in pairs:
            for metric in METRICS:
                attribution = {"attribution": "grad_cam"} if CATALOGUE[metric].of_pairs else {}
                test = tests.find(level, method, metric, population, reference=reference, **attribution)
                if test is not None:
                    rows.append(
                        {
                            **vars(level),
                            "method": method,
                            "reference": reference,
                            "metric": metric,
                            **test._asdict(),
                        }
                    )
    frame = pd.DataFrame(rows).astype({"iteration": "Int64", "epoch": "Int64"})
    frame["corrected"] = np.nan
    for _, family in frame.groupby(["metric", "reference"]):
        adjusted = corrected(family["p"].to_dict())
        frame.loc[list(adjusted), "corrected"] = list(adjusted.values())
    return frame


def significance_table(frame: pd.DataFrame, name: str, title: str, titles: Titles, note: str) -> Table:
    """`comparisons` as people read them."""
    metrics = measured(frame, METRICS)
    rows = []
    where = ["compression", "student", "method", "reference"]
    for (compression, student, method, reference), of_pair in frame.groupby(where, sort=False):
        by_metric = of_pair.set_index("metric")
        rows.append(
            [
                text_cell(titles.compression(compression)),
                text_cell(student.replace("_", " ")),
                text_cell(f"{titles.network(method, compression)} - {titles.method(reference)}".replace("_", " ")),
                *(
                    text_cell(
                        _cell(by_metric.loc[metric], CATALOGUE[metric].digits) if metric in by_metric.index else ""
                    )
                    for metric in metrics
                ),
                text_cell(str(of_pair["seeds"].max())),
            ]
        )
    text = f"{title}. Difference [its 95 % confidence interval] p, from a paired bootstrap over images and seeds; p is "
    text += "corrected (Holm) for the number of comparisons in its column with the same reference. "
    text += (
        f"{MARK}: p < {ALPHA}. No test: fewer than {MINIMUM_SEEDS} seeds, or pairs on too few images in one of them. "
    )
    headings = ["compression", "student", "difference", *(CATALOGUE[metric].difference for metric in metrics), "seeds"]
    return Table(name, f"{text}{note}", [Grid(headings, rows)], frame, labels=3)


def _cell(test: pd.Series, digits: int) -> str:
    if np.isnan(test["difference"]):
        return ""
    text = f"{test['difference']:+z.{digits}f}"
    if np.isnan(test["p"]):
        few = (
            f"{test['seeds']} seed{'s' if test['seeds'] > 1 else ''}" if test["seeds"] < MINIMUM_SEEDS else "few images"
        )
        return f"{text} (no test: {few})"
    p = test["corrected"]
    level = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    mark = MARK if p < ALPHA else ""
    return f"{text} [{test['low']:+z.{digits}f}, {test['high']:+z.{digits}f}] {level}{mark}"
