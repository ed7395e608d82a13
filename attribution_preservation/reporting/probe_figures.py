"""Figures of probes: removed pixels, likeness of layers to the teacher's, untrained layers, noise."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.panels import Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.probe_table import CHANCE, OTHERS, OWN, noise_columns
from attribution_preservation.reporting.results import (
    Level,
    Measure,
    last_of_all,
    present,
    select,
    values_of_at,
)
from attribution_preservation.reporting.titles import Titles

_NO_LINE = float("nan")


def removals(results: pd.DataFrame) -> list[Level]:
    """Students whose images lost pixels."""
    return [level for level in last_of_all(results) if (level.of(results)["attribution"] == OWN).any()]


def draw_removal(
    results: pd.DataFrame, level: Level, methods: Sequence[str], population: str, titles: Titles, path: Path
) -> None:
    """Class score and decisions while the least important pixels go, and the score while the most important ones do."""
    over = over_seeds(results["seed"].nunique(), "band")
    title = f"{titles.student(level.compression, level.student)}; pixels removed by each network's "
    title += f"own Grad-CAM; pairs: {population}; {over}"
    draw_panels([removal_panels(results, level, methods, population, titles)], title[0].upper() + title[1:], path)


def removal_panels(
    results: pd.DataFrame, level: Level, methods: Sequence[str], population: str, titles: Titles
) -> list[Panel]:
    """Panels for `draw_removal`. Baseline orders are of Naive's networks, or, without Naive, of the first method's."""
    rows = select(level.of(results), population=population)
    named = present(rows, methods)
    control = named[:1] if "naive" not in named else ["naive"]
    panels = []
    for metric, x_label in (
        ("least_score", "least important pixels removed [%]"),
        ("least_kept", "least important pixels removed [%]"),
        ("most_score", "most important pixels removed [%]"),
    ):
        lines = [
            _curve(titles.method(method), select(rows, method=method, attribution=OWN), metric, methods.index(method))
            for method in named
        ]
        lines += [
            _curve(
                f"{titles.method(method)}, {word}",
                select(rows, method=method, attribution=order),
                metric,
                len(methods) + number,
            )
            for method in control
            for number, (order, word) in enumerate(((CHANCE, "random order"), (OTHERS, "another image's map")))
        ]
        panels.append(Panel(CATALOGUE[metric].label(), lines, x_label))
    return panels


def _curve(name: str, rows: pd.DataFrame, metric: str, style: int) -> Line:
    percents = sorted(int(percent) for percent in values_of_at(rows, metric))
    values = [select(rows, metric=metric, at=str(percent))["value"] for percent in percents]
    return Line(name, percents, [v.mean() for v in values], [v.std(ddof=1) for v in values], style)


def draw_untrained(results: pd.DataFrame, titles: Titles, path: Path) -> None:
    """Are maps of a network whose layers were untrained still those of the trained one?"""
    over = over_seeds(results["seed"].nunique(), "band")
    title = "Sanity check: layers of the teacher untrained, from the logits down"
    draw_panels([[untrained_panel(results, titles)]], f"{title}\n{over}", path, width=6.5)


def untrained_panel(results: pd.DataFrame, titles: Titles) -> Panel:
    """Rank correlation of maps without sign, by attribution method, against the layers that are untrained."""
    rows = select(results, compression="teacher")
    rows = rows[rows["metric"].isin(["untrained", "untrained_floor"])]
    # A map's likeness to one of another image comes last.
    measures = [*(("untrained", at) for at in values_of_at(rows, "untrained")), ("untrained_floor", None)]
    lines = []
    for number, attribution in enumerate(rows["attribution"].dropna().unique()):
        of_method = select(rows, attribution=attribution)
        of_layer = [select(of_method, metric=metric, at=at)["value"] for metric, at in measures]
        x = list(range(len(measures)))
        mean, deviation = [v.mean() for v in of_layer], [v.std(ddof=1) for v in of_layer]
        lines.append(Line(titles.attribution(attribution), x, mean, deviation, number))
    words = [f"+ {at}" if place else str(at) for place, (_, at) in enumerate(measures)]
    ticks = (list(range(len(measures))), [*words[:-1], "another\nimage"])
    return Panel(CATALOGUE["untrained"].label(), lines, "untrained layers", ticks)


def layer_metrics(results: pd.DataFrame) -> list[Measure]:
    """Panels that compare hidden layers, and maps, with the teacher's, for `curve_panels`."""
    likeness = [Measure("cka", at) for at in values_of_at(results, "cka")]
    return [*likeness, Measure("cosine")] if likeness else []


def company_metrics(results: pd.DataFrame) -> list[Measure]:
    """Below them: do maps move where hidden layers, or predictions, do?"""
    company = [Measure("association_company", at) for at in values_of_at(results, "cka")]
    return [*company, Measure("association")]


def draw_robustness(results: pd.DataFrame, methods: Sequence[str], titles: Titles, path: Path) -> None:
    """Draw the loss by noise of every network against the distance of its maps from its teacher's."""
    title = "What noise in one region costs, against how alike maps are; one point per student and seed"
    draw_panels(robustness_panels(results, methods, titles), title, path)


def robustness_panels(results: pd.DataFrame, methods: Sequence[str], titles: Titles) -> list[list[Panel]]:
    """A row for each region, background first, of a panel for each noise."""
    panels: dict[str, list[Panel]] = {}
    keys = ["compression", "student", "method", "seed"]
    cosines = select(results, metric="cosine", population="all", attribution="grad_cam")
    for column in noise_columns(results)[::2]:
        lost = select(results, metric=column.metric, at=column.at).dropna(subset=["method"])
        both = lost.merge(cosines, on=[*keys, "iteration", "epoch"], suffixes=("_lost", ""))
        lines = []
        for number, method in enumerate(methods):
            points = select(both, method=method)
            if len(points):
                lines.append(
                    Line(
                        titles.method(method),
                        points["value"].tolist(),
                        points["value_lost"].tolist(),
                        [_NO_LINE] * len(points),
                        number,
                        joined=False,
                    )
                )
        panel = Panel(CATALOGUE["ap_lost"].label(column.heading), lines, f"{CATALOGUE['cosine'].label()}, all pairs")
        panels.setdefault(column.heading.split(",")[0], []).append(panel)
    return list(panels.values())
