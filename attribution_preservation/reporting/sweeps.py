"""Scores against one parameter of a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attribution_preservation.pipeline.schema.matching import (
    Matching,
    MatchingGroup,
    MatchingSweep,
    methods_of,
    written,
)
from attribution_preservation.reporting.panels import SCORES, Line, Panel, draw_panels
from attribution_preservation.reporting.results import Level, display_name, measured, select

_X_LABELS = {
    "strength": "strength of matching (beta)",
    "dropped_share": "share of the teacher's channels that are dropped",
    "layers": "matched layer",
}
_LAST = "last"  # where no layer is named


@dataclass(frozen=True)
class Sweep:
    """One parameter over several values.

    Attributes:
        name: of the swept method, as in params.yaml.
        parameter: as in params.yaml.
        methods: the method of each value; numbers ascend, layers stand in the order of params.yaml.
        logarithmic: whether values are spread over magnitudes.
    """

    name: str
    parameter: str
    methods: dict[float | str, str]
    logarithmic: bool


def find_sweeps(entries: Mapping[str, Matching | MatchingGroup | MatchingSweep], methods: Sequence[str]) -> list[Sweep]:
    """The sweeps among the entries of `matching` that a compression trains.

    Args:
        entries: by name.
        methods: that are compared; one that is the swept method at some value is a point of its sweep.
    """
    every = {method: found for name, entry in entries.items() for method, found in methods_of(name, entry).items()}
    sweeps = []
    for name, entry in entries.items():
        if not isinstance(entry, MatchingSweep):
            continue
        points: dict[float | str, str] = dict(zip(entry.values, methods_of(name, entry), strict=True))
        for method in methods:
            if method in every:
                value = getattr(every[method], entry.sweep)
                if every[method] == entry.of.model_copy(update={entry.sweep: value}):
                    points.setdefault(_LAST if value is None else value, method)
        if entry.sweep != "layers":
            points = dict(sorted(points.items()))
        logarithmic = entry.sweep == "strength" and min(points) > 0
        sweeps.append(Sweep(name, entry.sweep, points, logarithmic))
    return sweeps


def draw_sweeps(results: pd.DataFrame, level: Level, sweeps: Sequence[Sweep], population: str, path: Path) -> None:
    """A row of panels per sweep; Naive, which matches nothing, as a dashed line where it was trained.

    All points are of the seeds that the sweeps were run with.
    """
    panels, seeds = sweep_panels(results, level, sweeps, population)
    told = "one seed" if seeds == 1 else f"mean over {seeds} seeds"
    title = f"{display_name(level.compression)}, {level.student.replace('_', ' ')}; pairs: {population}; {told}"
    draw_panels(panels, title[0].upper() + title[1:], path)


def sweep_panels(
    results: pd.DataFrame, level: Level, sweeps: Sequence[Sweep], population: str
) -> tuple[list[list[Panel]], int]:
    """What `draw_sweeps` draws, and over how many seeds."""
    rows = level.of(results)
    seeds = set(rows["seed"].unique())
    for sweep in sweeps:
        for method in sweep.methods.values():
            seeds &= set(select(rows, method=method)["seed"].unique())
    rows = rows[rows["seed"].isin(seeds)]
    shown = measured(rows, SCORES, population)
    return [[_panel(rows, sweep, metric, population) for metric in shown] for sweep in sweeps], len(seeds)


def _panel(rows: pd.DataFrame, sweep: Sweep, metric: str, population: str) -> Panel:
    label, of_pairs = SCORES[metric]
    found = select(rows, metric=metric)
    found = select(found, population=population, attribution="grad_cam") if of_pairs else found
    named = sweep.parameter == "layers"
    values = list(range(len(sweep.methods))) if named else list(sweep.methods)
    of_method = [select(found, method=method)["value"] for method in sweep.methods.values()]
    mean, deviation = [float(v.mean()) for v in of_method], [float(v.std(ddof=1)) for v in of_method]
    lines = [Line(sweep.name.replace("_", " "), values, mean, deviation, 2, joined=not named)]
    if len(naive := select(found, method="naive")["value"]):
        lines.append(Line("Naive", [values[0], values[-1]], [float(naive.mean())] * 2, [float("nan")] * 2))
    ticks = (values, [written(value) for value in sweep.methods])
    return Panel(label, lines, _X_LABELS[sweep.parameter], ticks, sweep.logarithmic)
