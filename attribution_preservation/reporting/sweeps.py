"""Scores against one parameter of a method."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.panels import SCORES, Line, Panel, draw_panels
from attribution_preservation.reporting.results import Level, measured, select
from attribution_preservation.reporting.titles import Titles

_X_LABELS = {
    "strength": "strength of matching (beta)",
    "dropped_share": "share of the teacher's channels that are dropped",
    "layers": "matched layer",
}


@dataclass(frozen=True)
class Sweep:
    """One parameter over several values.

    Attributes:
        name: of the swept method, as in params.yaml.
        parameter: as in params.yaml.
        methods: the method of each value; numbers ascend, layers stand in the order of params.yaml.
    """

    name: str
    parameter: str
    methods: dict[float | str, str]

    @property
    def logarithmic(self) -> bool:
        """Whether the values are spread over magnitudes."""
        return self.parameter == "strength" and min(self.methods) > 0


def draw_sweeps(
    results: pd.DataFrame, level: Level, sweeps: Sequence[Sweep], population: str, titles: Titles, path: Path
) -> None:
    """A row of panels per sweep; Naive, which matches nothing, as a dashed line where it was trained.

    All points are of the seeds that the sweeps were run with.
    """
    panels, seeds = sweep_panels(results, level, sweeps, population)
    over = "one seed" if seeds == 1 else f"mean over {seeds} seeds"
    title = f"{titles.student(level.compression, level.student)}; pairs: {population}; {over}"
    draw_panels(panels, title[0].upper() + title[1:], path)


def sweep_panels(
    results: pd.DataFrame, level: Level, sweeps: Sequence[Sweep], population: str
) -> tuple[list[list[Panel]], int]:
    """Panels for `draw_sweeps`, and the number of seeds that they average."""
    rows = level.of(results)
    seeds = set(rows["seed"].unique())
    for sweep in sweeps:
        for method in sweep.methods.values():
            seeds &= set(select(rows, method=method)["seed"].unique())
    rows = rows[rows["seed"].isin(seeds)]
    scores = measured(rows, SCORES, population)
    return [[_panel(rows, sweep, metric, population) for metric in scores] for sweep in sweeps], len(seeds)


def _panel(rows: pd.DataFrame, sweep: Sweep, metric: str, population: str) -> Panel:
    figures = select(rows, metric=metric)
    if CATALOGUE[metric].of_pairs:
        figures = select(figures, population=population, attribution="grad_cam")
    named = sweep.parameter == "layers"
    values = list(range(len(sweep.methods))) if named else list(sweep.methods)
    of_method = [select(figures, method=method)["value"] for method in sweep.methods.values()]
    mean, deviation = [float(v.mean()) for v in of_method], [float(v.std(ddof=1)) for v in of_method]
    lines = [Line(sweep.name.replace("_", " "), values, mean, deviation, 2, joined=not named)]
    if len(naive := select(figures, method="naive")["value"]):
        lines.append(Line("Naive", [values[0], values[-1]], [float(naive.mean())] * 2, [float("nan")] * 2))
    ticks = (values, [value if isinstance(value, str) else f"{value:g}" for value in sweep.methods])
    return Panel(CATALOGUE[metric].label(), lines, _X_LABELS[sweep.parameter], ticks, sweep.logarithmic)
