"""Curves of the page: the panels that figures draw, as data that a script draws again, with what a pointer asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from attribution_preservation.reporting.curves import ORIGIN, curve_panels
from attribution_preservation.reporting.panels import SCORES, STYLES, Line, Panel
from attribution_preservation.reporting.results import Level, Measure
from attribution_preservation.reporting.titles import Titles

_REFERENCE = "#767676"  # grey that is legible on white and on black


def curve_data(
    results: pd.DataFrame,
    along: Mapping[str, Sequence[Level]],
    methods: Sequence[str],
    populations: Sequence[str],
    titles: Titles,
) -> list[dict[str, Any]]:
    """For every course of levels and every population its panels.

    Args:
        results: tidy results.
        along: courses by title.
        methods: in this order, which decides their colours.
        populations: of pairs.
        titles: what methods are called.

    Returns:
        One entry per course: `title`, and `panels` by population, each with `label`, `x`, `ticks` ([position, text]),
        `steps` (what each point of a line is of, in words) and `lines` (`name`, `color`, `reference`, `points` of
        [position, mean, deviation or None]).
    """
    entries = []
    for title, course in along.items():
        panels = {}
        for population in populations:
            measures = map(Measure, dict.fromkeys((*SCORES, *ORIGIN)))
            drawn = curve_panels(results, course, methods, population, measures, titles)
            steps = level_words(results, course)
            # A population of which no method has a pair leaves empty panels.
            data = [_panel(panel) | {"steps": steps} for panel in drawn]
            panels[population] = [panel for panel in data if any(_known(line) for line in panel["lines"])]
        entries.append({"title": title, "panels": panels})
    return entries


def level_words(results: pd.DataFrame, course: Sequence[Level]) -> list[str]:
    """Name of each level of a course in words: an iteration of pruning, or an epoch of training."""
    stepwise, words = len({level.iteration for level in course}) > 1, []
    for level in course:
        sparsity = level.of(results)["sparsity"].dropna()
        step = f"iteration {level.iteration}" if stepwise else f"epoch {level.epoch}" if len(course) > 1 else ""
        pruned = f"{100 * sparsity.max():.0f} % of the convolution weights pruned" if len(sparsity) else ""
        words.append(", ".join(filter(None, (step, pruned))) or "after the last epoch")
    return words


def _panel(panel: Panel) -> dict[str, Any]:
    ticks = zip(*panel.ticks, strict=True) if panel.ticks else ()
    return {
        "label": panel.label,
        "x": panel.x_label,
        "ticks": [[float(position), text] for position, text in ticks],
        "lines": [_line(line) for line in panel.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    points = zip(line.x, line.mean, line.deviation, strict=True)
    return {
        "name": line.name,
        "color": _REFERENCE if line.style is None else STYLES[line.style % len(STYLES)][0],
        "reference": line.style is None,
        "points": [[float(x), _rounded(mean), _rounded(deviation)] for x, mean, deviation in points],
    }


def _known(line: dict[str, Any]) -> bool:
    return not line["reference"] and any(mean is not None for _, mean, _ in line["points"])


def _rounded(value: float) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 5)
