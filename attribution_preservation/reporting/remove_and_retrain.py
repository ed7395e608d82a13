"""Remove and retrain: the supplement's Figure 3, and its numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.paired_tests import ALPHA, MARK, Outcome, PairedTests, corrected
from attribution_preservation.reporting.panels import Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.results import (
    Level,
    full_network,
    last_of_all,
    present,
    select,
    shared_seeds,
    values_of_at,
)
from attribution_preservation.reporting.table import Cell, Grid, Table, mean_cell, text_cell
from attribution_preservation.reporting.titles import Titles

_TEACHER, _OTHERS, _RANDOM = "Full network", "Full network, another image's map", "Random"
ROAR_METRICS = ("f1", "mean_ap")  # of the retrained classifier


def roars(results: pd.DataFrame) -> list[Level]:
    """Students that a classifier was retrained for."""
    return [level for level in last_of_all(results) if (level.of(results)["metric"] == "roar_f1").any()]


def draw_roar(results: pd.DataFrame, level: Level, methods: Sequence[str], titles: Titles, path: Path) -> None:
    """Remove and retrain, as the supplement's Figure 3."""
    over = over_seeds(results["seed"].nunique(), "band")
    title = "Remove and retrain; maps of the classes that an image has, of the full network and of students\n("
    title += f"{titles.student(level.compression, level.student)}); {over}"
    panels = [roar_panel(results, level, methods, titles, metric) for metric in ROAR_METRICS]
    draw_panels([panels], title, path, width=5.5)


def roar_panel(
    results: pd.DataFrame, level: Level, methods: Sequence[str], titles: Titles, metric: str = "f1"
) -> Panel:
    """A score of the retrained classifier against the share of pixels that are gone, by whose maps ordered them."""
    results = results[results["seed"].isin(shared_seeds(results, [level], methods))]
    teachers, students = full_network(results, level), level.of(results)
    sources = {
        _TEACHER: select(teachers, attribution="grad_cam"),
        **{titles.method(method): select(students, method=method) for method in present(students, methods)},
        _OTHERS: select(teachers, attribution="other_images_grad_cam"),
        _RANDOM: select(teachers, attribution="random"),
    }
    styles = [5, *(methods.index(method) for method in present(students, methods)), 6, 4]
    intact = dict(_roar_scores(sources[_RANDOM], metric))[0]
    lines = []
    for style, (name, rows) in zip(styles, sources.items(), strict=True):
        scores = {0: intact} | dict(_roar_scores(rows, metric))
        if len(scores) > 1:
            mean, deviation = [v.mean() for v in scores.values()], [v.std(ddof=1) for v in scores.values()]
            lines.append(Line(name, list(scores), mean, deviation, style))
    return Panel(CATALOGUE[f"roar_{metric}"].label(), lines, "most important pixels removed [%]")


def _roar_scores(rows: pd.DataFrame, metric: str) -> Iterator[tuple[int, pd.Series]]:
    """By share of removed pixels in percent, the scores of each seed: means over its retrainings."""
    for percent in sorted(int(at) for at in values_of_at(rows, f"roar_{metric}")):
        yield percent, select(rows, metric=f"roar_{metric}", at=str(percent)).groupby("seed")["value"].mean()


def retrained(
    results: pd.DataFrame, level: Level, methods: Sequence[str], tests: PairedTests, titles: Titles
) -> pd.DataFrame:
    """One row for every source of the order and share of pixels.

    Returns:
        F1 and mAP with deviations over seeds; the difference in F1 from Naive's maps with its confidence interval, p,
        and p after Holm's correction for their number.
    """
    panels = {metric: roar_panel(results, level, methods, titles, metric) for metric in ROAR_METRICS}
    names = {titles.method(method): method for method in methods}
    names |= {_TEACHER: "teacher", _OTHERS: "other_images_grad_cam", _RANDOM: "random"}
    rows = []
    for lines in zip(*(panel.lines for panel in panels.values()), strict=True):
        for place, percent in enumerate(lines[0].x):
            row: dict[str, object] = {"maps of": lines[0].name, "removed [%]": percent}
            for metric, line in zip(panels, lines, strict=True):
                row |= {metric: line.mean[place], f"{metric}_deviation": line.deviation[place]}
            test = tests.find(level, names[lines[0].name], "roar_f1", "all", at=percent)
            rows.append(row | (test._asdict() if test else {}))
    frame = pd.DataFrame(rows).reindex(columns=[*rows[0], *Outcome._fields])
    frame["corrected"] = pd.Series(corrected(frame["p"].dropna().to_dict()), dtype=float)
    return frame


def roar_table(frame: pd.DataFrame, name: str, seeds: int, note: str) -> Table:
    """`retrained` as people read it: a column for each share."""
    over = f"Mean ± sample deviation over {seeds} seeds of network and classifier" if seeds > 1 else "One seed"
    text = (
        "Remove and retrain: F1 [%] of a classifier that is retrained on images whose most important pixels are gone, "
        "in the order of maps of the classes that an image has (their maximum, each scaled to 1), on evaluation images "
        "too. Another image's map: regions of the same shapes in the wrong places. "
        f"{over}. {MARK}: differs from Naive's by a paired test over images and seeds, p < {ALPHA} after Holm's "
        "correction for the table; under 3 seeds nothing is tested."
    )
    shares = list(dict.fromkeys(frame["removed [%]"]))
    rows = []
    for source, of_source in frame.groupby("maps of", sort=False):
        by_share = {row["removed [%]"]: row for _, row in of_source.iterrows()}
        rows.append(
            [text_cell(str(source)), *(_cell(by_share[share]) if share in by_share else () for share in shares)]
        )
    return Table(
        name, f"{text} {note}", [Grid(["maps of", *(f"{share} %" for share in shares)], rows)], frame, labels=1
    )


def _cell(row: pd.Series) -> Cell:
    return mean_cell(row["f1"], row["f1_deviation"], 1, marks=MARK if row["corrected"] < ALPHA else "")
