"""Scores along a student's iterations or epochs, by method."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attribution_preservation.reporting.panels import SCORES, Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.results import Level, display_name, levels, present, select

PLOTTED = {"mean_ap": None, "roc_auc": "own", "point_accuracy": "own", "cosine": "all"}  # population, in reports/plots


def courses(results: pd.DataFrame, compression: str) -> dict[str, list[Level]]:
    """By student, the levels of those that have several."""
    found: dict[str, list[Level]] = {}
    for level in levels(results, compression):
        found.setdefault(level.student, []).append(level)
    return {student: course for student, course in found.items() if len(course) > 1}


def curve_table(
    results: pd.DataFrame, course: Sequence[Level], methods: Sequence[str], metric: str, population: str | None
) -> pd.DataFrame:
    """Mean over seeds by iteration, one column per method and one with its deviation, for `dvc plots` and figures."""
    compression, student = course[0].compression, course[0].student
    attribution = "grad_cam" if population else None
    rows = select(
        results,
        compression=compression, student=student, metric=metric, population=population, attribution=attribution,
    )  # fmt: skip
    table = pd.DataFrame(index=pd.Index([level.iteration for level in course], name="iteration"))
    table["sparsity"] = rows.groupby("iteration")["sparsity"].mean()
    for method in present(rows, methods):
        values = select(rows, method=method).groupby("iteration")["value"]
        table[method] = values.mean()
        table[f"{method}_deviation"] = values.std(ddof=1)
    return table.reset_index()


def draw_curves(
    results: pd.DataFrame, course: Sequence[Level], methods: Sequence[str], population: str, path: Path
) -> None:
    """One panel per metric: mean over seeds as a line, one deviation as a band, the teacher as a dashed line."""
    compression, student = course[0].compression, course[0].student
    over = over_seeds(results["seed"].nunique(), "band")
    title = f"{display_name(compression)}, {student.replace('_', ' ')}; pairs: {population}; {over}"
    draw_panels([curve_panels(results, course, methods, population)], title[0].upper() + title[1:], path)


def curve_panels(
    results: pd.DataFrame, course: Sequence[Level], methods: Sequence[str], population: str
) -> list[Panel]:
    """What `draw_curves` draws."""
    panels = []
    for metric, (label, of_pairs) in SCORES.items():
        counted = population if of_pairs else None
        table = curve_table(results, course, methods, metric, counted)
        shown = table["iteration"].tolist()
        lines = [
            Line(display_name(method), shown, table[method], table[f"{method}_deviation"], number)
            for number, method in enumerate(methods)
            if method in table
        ]
        if metric != "cosine":
            teacher = _teacher(results, course, metric, counted)
            lines.append(Line("Teacher", shown, teacher, [float("nan")] * len(shown)))
        positions = shown[:: max(1, len(shown) // 6)]
        if table["sparsity"].notna().all():
            sparsity = table.set_index("iteration")["sparsity"]
            ticks, x_label = [f"{100 * sparsity[k]:.0f}" for k in positions], "pruned convolution weights [%]"
        else:
            ticks, x_label = [str(k) for k in positions], "epoch"
        panels.append(Panel(label, lines, x_label, (positions, ticks)))
    return panels


def _teacher(results: pd.DataFrame, course: Sequence[Level], metric: str, population: str | None) -> list[float]:
    """The teacher's mean by level: on that level's common pairs, or the same value everywhere."""
    attribution = "grad_cam" if population else None
    rows = select(results, metric=metric, attribution=attribution, population=population)
    if population == "common":
        return [float(select(level.of(rows), method="teacher")["value"].mean()) for level in course]
    return [float(select(rows, compression="teacher")["value"].mean())] * len(course)
