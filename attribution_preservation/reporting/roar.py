"""Remove and retrain: the supplement's Figure 3, and its numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from attribution_preservation.reporting.panels import Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.results import Level, compressions, display_name, last_levels, present, select


def roars(results: pd.DataFrame) -> list[Level]:
    """Students that a classifier was retrained for."""
    levels = [level for compression in compressions(results) for level in last_levels(results, compression)]
    return [level for level in levels if level.of(results)["metric"].str.startswith("roar_f1_").any()]


def draw_roar(results: pd.DataFrame, level: Level, methods: Sequence[str], path: Path) -> None:
    """Remove and retrain, as the supplement's Figure 3."""
    over = over_seeds(results["seed"].nunique(), "band")
    title = f"Remove and retrain; maps of the full network and of students\n({display_name(level.compression)}, "
    title += f"{level.student.replace('_', ' ')}); {over}"
    draw_panels([[roar_panel(results, level, methods)]], title, path, width=6.5)


def roar_panel(results: pd.DataFrame, level: Level, methods: Sequence[str]) -> Panel:
    """F1 of the retrained classifier against the share of pixels that are gone, by whose maps ordered them."""
    teachers, students = select(results, compression="teacher"), level.of(results)
    sources = {
        "Full network": select(teachers, attribution="grad_cam"),
        **{display_name(method): select(students, method=method) for method in present(students, methods)},
        "Random": select(teachers, attribution="random"),
    }
    styles = [5, *(methods.index(method) for method in present(students, methods)), 4]
    intact = dict(_roar_scores(sources["Random"]))[0]
    lines = []
    for style, (name, rows) in zip(styles, sources.items(), strict=True):
        scores = {0: intact} | dict(_roar_scores(rows))
        if len(scores) > 1:
            mean, deviation = [v.mean() for v in scores.values()], [v.std(ddof=1) for v in scores.values()]
            lines.append(Line(name, list(scores), mean, deviation, style))
    return Panel("F1 of the retrained classifier [%]", lines, "most important pixels removed [%]")


def _roar_scores(rows: pd.DataFrame) -> Iterator[tuple[int, pd.Series]]:
    """By share of removed pixels in percent, the scores of each seed: means over its retrainings."""
    found = rows[rows["metric"].str.startswith("roar_f1_")]
    for percent in sorted({int(metric.removeprefix("roar_f1_")) for metric in found["metric"]}):
        yield percent, select(found, metric=f"roar_f1_{percent}").groupby("seed")["value"].mean()


def roar_table(results: pd.DataFrame, level: Level, methods: Sequence[str]) -> pd.DataFrame:
    """The numbers of `roar_panel`, and what each source costs beyond chance: one row per source and share."""
    panel = roar_panel(results, level, methods)
    chance = panel.lines[-1]
    by_percent = dict(zip(chance.x, chance.mean, strict=True))
    return pd.DataFrame(
        [
            {"maps of": line.name, "removed %": percent, "f1": mean, "deviation": deviation, "below random": gap}
            for line in panel.lines
            for percent, mean, deviation in zip(line.x, line.mean, line.deviation, strict=True)
            for gap in [by_percent[percent] - mean]
            if not np.isnan(mean)
        ]
    )
