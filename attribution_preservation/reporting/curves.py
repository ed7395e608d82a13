"""Scores along a student's iterations or epochs, by method."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from attribution_preservation.reporting.panels import SCORES, Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.results import Level, display_name, levels, present, select

# Population of what lies in reports/plots.
PLOTTED = {
    "mean_ap": None, "roc_auc": "own", "point_accuracy": "own", "cosine": "all",
    "agreement": None, "divergence": None, "association": "all",
}  # fmt: skip

# Where what is explained comes from: of all decisions, how far apart, and whether maps move with predictions.
ORIGIN = {
    "agreement": ("decisions that are the teacher's [%]", False),
    "divergence": ("KL divergence of predictions [nats]", False),
    "cosine": ("cosine to the teacher's map", True),
    "association": ("rank correlation of cosine and divergence", True),
}
BESIDE_TEACHER = tuple(ORIGIN)  # these compare with it, and it has none of its own


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
    panels = curve_panels(results, course, methods, population, SCORES)
    draw_panels([panels], _title(results, course, population), path)


def draw_origin(
    results: pd.DataFrame, course: Sequence[Level], methods: Sequence[str], population: str, path: Path
) -> None:
    """Do predictions hold while maps move? As `draw_curves`, of predictions beside the teacher's, and of maps."""
    panels = curve_panels(results, course, methods, population, ORIGIN)
    draw_panels([panels], _title(results, course, population), path)


def _title(results: pd.DataFrame, course: Sequence[Level], population: str) -> str:
    compression, student = course[0].compression, course[0].student
    over = over_seeds(results["seed"].nunique(), "band")
    title = f"{display_name(compression)}, {student.replace('_', ' ')}; pairs: {population}; {over}"
    return title[0].upper() + title[1:]


def curve_panels(
    results: pd.DataFrame,
    course: Sequence[Level],
    methods: Sequence[str],
    population: str,
    metrics: Mapping[str, tuple[str, bool]],
) -> list[Panel]:
    """What is drawn; metrics: axis label, and whether it is a score of pairs, by name."""
    panels = []
    for metric, (label, of_pairs) in metrics.items():
        counted = population if of_pairs else None
        table = curve_table(results, course, methods, metric, counted)
        shown = table["iteration"].tolist()
        lines = [
            Line(display_name(method), shown, table[method], table[f"{method}_deviation"], number)
            for number, method in enumerate(methods)
            if method in table
        ]
        if metric not in BESIDE_TEACHER:
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
