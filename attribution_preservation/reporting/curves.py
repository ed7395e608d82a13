"""Scores along a student's iterations, or along the epochs of its training, by method."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.panels import SCORES, Line, Panel, draw_panels, over_seeds
from attribution_preservation.reporting.results import (
    Level,
    Measure,
    finished,
    full_network,
    levels,
    measured,
    present,
    select,
)
from attribution_preservation.reporting.titles import Titles

# Population of what lies in reports/plots.
PLOTTED = {
    "mean_ap": None, "top1": None, "roc_auc": "own", "point_accuracy": "own", "cosine": "all",
    "agreement": None, "divergence": None, "association": "all",
}  # fmt: skip

# Where what is explained comes from: of all decisions, how far apart, and whether maps move with predictions.
ORIGIN = ("agreement", "divergence", "cosine", "association")
# These compare with the teacher, which has none of its own.
BESIDE_TEACHER = (*ORIGIN, "cka", "association_company")


def courses(results: pd.DataFrame, compression: str) -> dict[str, list[Level]]:
    """By student, of those that have several: the end of every iteration, or where there is but one, all epochs."""
    chosen = {}
    for student, history in histories(results, compression).items():
        ends = finished(history)
        chosen[student] = ends if len(ends) > 1 else history
    return {student: course for student, course in chosen.items() if len(course) > 1}


def histories(results: pd.DataFrame, compression: str) -> dict[str, list[Level]]:
    """By student, all of its levels: every epoch that was kept of every iteration."""
    of_students: dict[str, list[Level]] = {}
    for level in levels(results, compression):
        of_students.setdefault(level.student, []).append(level)
    return of_students


def curve_table(
    results: pd.DataFrame,
    course: Sequence[Level],
    methods: Sequence[str],
    measure: Measure,
    population: str | None,
) -> pd.DataFrame:
    """Mean over seeds by level, one column per method and one with its deviation, for `dvc plots` and figures."""
    attribution = "grad_cam" if population else None
    steps = ["iteration", "epoch"]
    of_metric = select(results, **measure._asdict(), population=population, attribution=attribution)
    rows = pd.concat([level.of(of_metric) for level in course])
    table = pd.DataFrame([{step: getattr(level, step) for step in steps} for level in course], dtype="Int64")
    index = pd.MultiIndex.from_frame(table)
    table["sparsity"] = rows.groupby(steps, dropna=False)["sparsity"].mean().reindex(index).to_numpy()
    for method in present(rows, methods):
        values = select(rows, method=method).groupby(steps, dropna=False)["value"]
        table[method] = values.mean().reindex(index).to_numpy()
        table[f"{method}_deviation"] = values.std(ddof=1).reindex(index).to_numpy()
    return table


def draw_curves(
    results: pd.DataFrame, course: Sequence[Level], methods: Sequence[str], population: str, titles: Titles, path: Path
) -> None:
    """One panel per metric: mean over seeds as a line, one deviation as a band, the teacher as a dashed line."""
    panels = curve_panels(results, course, methods, population, map(Measure, SCORES), titles)
    draw_panels([panels], _title(results, course, population, titles), path)


def draw_origin(
    results: pd.DataFrame, course: Sequence[Level], methods: Sequence[str], population: str, titles: Titles, path: Path
) -> None:
    """Do predictions hold while maps move? Draw how close both are to the teacher's, like `draw_curves`."""
    panels = curve_panels(results, course, methods, population, map(Measure, ORIGIN), titles)
    draw_panels([panels], _title(results, course, population, titles), path)


def draw_layers(
    results: pd.DataFrame,
    course: Sequence[Level],
    methods: Sequence[str],
    rows: Sequence[Sequence[Measure]],
    titles: Titles,
    path: Path,
) -> None:
    """Do hidden layers stay the teacher's where maps do not? Their likeness, layer by layer, and that of maps."""
    panels = [curve_panels(results, course, methods, "all", measures, titles) for measures in rows]
    draw_panels(panels, _title(results, course, "all", titles), path, 3.6)


def _title(results: pd.DataFrame, course: Sequence[Level], population: str, titles: Titles) -> str:
    over = over_seeds(results["seed"].nunique(), "band")
    title = f"{titles.student(course[0].compression, course[0].student)}; pairs: {population}; {over}"
    return title[0].upper() + title[1:]


def curve_panels(
    results: pd.DataFrame,
    course: Sequence[Level],
    methods: Sequence[str],
    population: str,
    measures: Iterable[Measure],
    titles: Titles,
) -> list[Panel]:
    """A panel for each of the measures that results hold."""
    panels = []
    for measure in measured(results, measures, population):
        metric = CATALOGUE[measure.metric]
        counted = population if metric.of_pairs else None
        table = curve_table(results, course, methods, measure, counted)
        places = _places(course)
        lines = [
            Line(titles.method(method), places, table[method], table[f"{method}_deviation"], number)
            for number, method in enumerate(methods)
            if method in table
        ]
        of_teacher = full_network(results, course[0])
        if measure.metric == "cka" and len(strangers := select(of_teacher, **measure._asdict())):
            # What two networks share that have only the data in common.
            alike = [float(strangers["value"].mean())] * len(places)
            lines.append(Line("Two teachers", places, alike, [float("nan")] * len(places)))
        if measure.metric not in BESIDE_TEACHER:
            teacher = _teacher(results, course, measure.metric, counted)
            lines.append(Line("Teacher", places, teacher, [float("nan")] * len(places)))
        ends = finished(course)
        if len(ends) > 1:
            words = [f"{100 * table['sparsity'][course.index(level)]:.0f}" for level in ends]
            x_label, named = "pruned convolution weights [%]", [places[course.index(level)] for level in ends]
        else:
            words, x_label, named = [f"{place:g}" for place in places], "epoch", places
        every = max(1, len(named) // 6)
        panels.append(Panel(metric.label(measure.at), lines, x_label, (named[::every], words[::every])))
    return panels


def _places(course: Sequence[Level]) -> list[float]:
    """Where levels stand on the x axis: iterations one after the other, each as long as its epochs; else epochs."""
    ends = finished(course)
    if len(ends) == 1:
        return [float(level.epoch or 0) for level in course]
    epochs = {level.iteration: level.epoch for level in ends}
    places = []
    for level in course:
        done = 1.0 if level.epoch is None else level.epoch / (epochs[level.iteration] or 1)
        places.append((level.iteration or 0) - 1 + done)
    return places


def _teacher(results: pd.DataFrame, course: Sequence[Level], metric: str, population: str | None) -> list[float]:
    """The teacher's mean by level: on that level's common pairs, or the same value everywhere."""
    attribution = "grad_cam" if population else None
    where = {"metric": metric, "attribution": attribution, "population": population}
    if population == "common":
        rows = select(results, **where)
        return [float(select(level.of(rows), method="teacher")["value"].mean()) for level in course]
    return [float(select(full_network(results, course[0]), **where)["value"].mean())] * len(course)
