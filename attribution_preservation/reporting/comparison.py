"""All compressions in one picture: every student's last level, by method."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap

import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.panels import SCORES, Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.results import (
    Level,
    full_networks,
    last_of_all,
    measured,
    present,
    select,
    teacher_of,
)
from attribution_preservation.reporting.titles import Titles


def draw_comparison(results: pd.DataFrame, methods: Sequence[str], population: str, titles: Titles, path: Path) -> None:
    """One panel per metric. Each student has the means of its methods side by side, with error bars."""
    panels = comparison_panels(results, methods, population, titles)
    over, half = over_seeds(results["seed"].nunique(), "bar"), len(panels) // 2
    rows = [panels] if len(panels) % 2 else [panels[:half], panels[half:]]
    draw_panels(rows, f"Every compression; pairs: {population}; {over}", path, width=6.5)


def comparison_panels(results: pd.DataFrame, methods: Sequence[str], population: str, titles: Titles) -> list[Panel]:
    """The panels of `draw_comparison`: students side by side on x. Common pairs are counted (mean over seeds)."""
    students = last_of_all(results)
    names = [
        "\n".join([*titles.compression(level.compression).split(), *wrap(level.student.replace("_", " "), 9)])
        for level in students
    ]
    panels = []
    for metric in measured(results, SCORES, population):
        of_pairs = CATALOGUE[metric].of_pairs
        where = {"metric": metric, "population": population, "attribution": "grad_cam"} if of_pairs else {}
        rows = select(results, **where) if of_pairs else select(results, metric=metric)
        lines = []
        for number, method in enumerate([*methods, None]):
            shift = 0.0 if method is None else 0.15 * (number - (len(methods) - 1) / 2)
            points = [
                (place + shift, select(level.of(rows), method=method)["value"])
                for place, level in enumerate(students)
                if (method is None) == (not present(level.of(rows), methods))
            ]
            if points:
                lines.append(
                    Line(
                        titles.network(method, "scratch"),
                        [x for x, _ in points],
                        [float(values.mean()) for _, values in points],
                        [float(values.std(ddof=1)) for _, values in points],
                        number,
                        joined=False,
                    )
                )
        if metric != "cosine" and population != "common":
            lines += _teachers(results, rows, students)
        counted = of_pairs and population == "common"
        # Few pairs are common with a weak network; their number differs from student to student.
        under = [f"\n{_pairs(level.of(rows), methods):.0f} pairs" if counted else "" for level in students]
        ticks = [name + words for name, words in zip(names, under, strict=True)]
        panels.append(Panel(CATALOGUE[metric].label(), lines, "", (list(range(len(students))), ticks)))
    return panels


def _teachers(results: pd.DataFrame, rows: pd.DataFrame, students: Sequence[Level]) -> Iterator[Line]:
    """A line for every full network, along the students that were made from it."""
    several = len(full_networks(results)) > 1
    for name, group in groupby(range(len(students)), key=lambda place: teacher_of(results, students[place])):
        places = list(group)
        value = float(select(rows, compression="teacher", teacher=name)["value"].mean())
        label = f"Teacher ({name})" if several else "Teacher"
        yield Line(label, [places[0] - 0.5, places[-1] + 0.5], [value] * 2, [float("nan")] * 2)


def _pairs(rows: pd.DataFrame, methods: Sequence[str]) -> float:
    """Mean number over seeds, of the networks that are drawn: variants have fewer seeds, baselines several rows."""
    named = present(rows, methods)
    drawn = rows[rows["method"].isin(named)] if named else select(rows, method=None)
    return float(drawn["n"].mean())
