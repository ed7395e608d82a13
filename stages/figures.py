"""Stage figures: scores of every compression, along iterations and sweeps, with the numbers; grids of heat maps."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count

from attribution_preservation.matching.variants import ENTRY, sweeps_of
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.jobs import each
from attribution_preservation.reporting.comparison import draw_comparison
from attribution_preservation.reporting.curves import (
    PLOTTED,
    courses,
    curve_table,
    draw_curves,
    draw_layers,
    draw_origin,
    histories,
)
from attribution_preservation.reporting.heatmaps import HeatmapRow, draw_heatmaps
from attribution_preservation.reporting.paired_tests import ALPHA, MARK, PairedTests, read_tests
from attribution_preservation.reporting.probe_figures import (
    company_metrics,
    draw_removal,
    draw_robustness,
    draw_untrained,
    layer_metrics,
    removals,
)
from attribution_preservation.reporting.probe_table import noise_columns
from attribution_preservation.reporting.remove_and_retrain import draw_roar, roars
from attribution_preservation.reporting.report_settings import Figures
from attribution_preservation.reporting.results import (
    Level,
    Measure,
    compressions,
    finished,
    last_levels,
    measured,
    read_frame,
    read_results,
    result_files,
    select,
    teacher_of,
)
from attribution_preservation.reporting.sweeps import Sweep, draw_sweeps
from attribution_preservation.reporting.titles import TITLES, Titles, read_titles
from attribution_preservation.reporting.training_curves import LOGGED, STEPS, training_curves
from attribution_preservation.reporting.transfer import COMPARABLE, DRAWN, draw_transfer, transfer, transferred
from attribution_preservation.storage.csv_text import csv_text
from attribution_preservation.storage.files import atomic_directory, write_text
from attribution_preservation.storage.identity import seed_folder
from stages.explained import Explained

POPULATIONS = ("own", "common", "all")
MATCHED = ("prune_weights", "prune_channels", "distill")  # compressions that are trained under entries of `matching`
Courses = dict[str, list[Level]]
Draws = Iterator[Callable[[], None]]


def main(stage: Stage) -> str:
    """Draw the figures."""
    # Heat maps are upsampled by torch, in processes that are copies of this one; one thread gives the same bits.
    torch.set_num_threads(1)
    figures, plots = stage.out(Path("reports/figures")), stage.out(Path("reports/plots"))
    methods = stage.parameters("evaluate.methods")
    files = result_files(stage.parameters("seed_groups"), stage.parameters("batches"))
    titles = read_titles(stage.dep(TITLES))
    results = read_results([stage.dep(path) for path in files], stage.parameters("profile"))
    tests = read_tests(stage.dep(Path("analysis/significance.csv")))
    trained = {name: training_curves(logs) for name, logs in _logs(stage, methods).items()}
    heatmaps = _Heatmaps(stage, titles)
    along = {
        f"{compression}_{student}": course
        for compression in compressions(results)
        for student, course in courses(results, compression).items()
    }
    # What fine-tuning repairs of what each of several pruning steps breaks.
    repairs = {
        f"{compression}_{student}": history
        for compression in compressions(results)
        for student, history in histories(results, compression).items()
        if len(history) > len(finished(history)) > 1
    }
    with atomic_directory(figures) as folder:
        draws = [
            *_of_scores(results, methods, along, repairs, titles, folder),
            *_of_sweeps(stage, results, methods, titles, folder),
            *_of_attributions(results, methods, tests, titles, folder),
            *_of_probes(results, methods, along, titles, folder),
        ]
        for compression in compressions(results):
            first = last_levels(results, compression)[0]
            rows = heatmaps.rows(first, str(teacher_of(results, first)))
            draws.append(partial(draw_heatmaps, rows, folder / f"heatmaps_{compression}.png"))
        each(draws, cpu_count())  # matplotlib spends its time in Python
    with atomic_directory(plots) as folder:
        for metric in measured(results, PLOTTED):
            population = PLOTTED[metric]
            for name, course in along.items():
                table = curve_table(results, course, methods, Measure(metric), population)
                write_text(folder / f"{name}_{metric}.csv", csv_text(table))
            for name, history in repairs.items():
                table = curve_table(results, history, methods, Measure(metric), population)
                write_text(folder / f"{name}_repair_{metric}.csv", csv_text(table))
        for name, tables in trained.items():
            for quantity, table in tables.items():
                # Written out, what has no value is not drawn; an empty cell DVC's plots take for 0.
                path = folder / f"training_{name}_{quantity}.csv"
                write_text(path, csv_text(table, missing="nan"))
    return f"figures in {figures}, the curves' numbers in {plots}"


def _of_scores(
    results: pd.DataFrame, methods: list[str], along: Courses, repairs: Courses, titles: Titles, folder: Path
) -> Draws:
    """Every compression side by side, and scores along the levels of each student."""
    for population in POPULATIONS:
        path = folder / f"compressions_{population}.png"
        yield partial(draw_comparison, results, methods, population, titles, path)
        for name, course in along.items():
            path, origin = folder / f"{name}_{population}.png", folder / f"{name}_origin_{population}.png"
            yield partial(draw_curves, results, course, methods, population, titles, path)
            yield partial(draw_origin, results, course, methods, population, titles, origin)
        for name, history in repairs.items():
            path = folder / f"{name}_repair_{population}.png"
            yield partial(draw_curves, results, history, methods, population, titles, path)


def _of_sweeps(stage: Stage, results: pd.DataFrame, methods: list[str], titles: Titles, folder: Path) -> Draws:
    """Scores against a parameter of matching, for every student that was trained at several values of it."""
    for compression in MATCHED:
        names = stage.parameters(f"{compression}.matchings")
        entries = {name: stage.section(f"matching.{name}", ENTRY) for name in names}
        if sweeps := [Sweep(*sweep) for sweep in sweeps_of(entries, methods)]:
            for level in last_levels(results, compression):
                # Students of two compressions may have one name. Channel pruning's stand alone, as they are linked.
                student = level.student if compression == "prune_channels" else f"{compression}_{level.student}"
                for population in POPULATIONS:
                    path = folder / f"sweeps_{student}_{population}.png"
                    yield partial(draw_sweeps, results, level, sweeps, population, titles, path)


def _of_attributions(
    results: pd.DataFrame, methods: list[str], tests: PairedTests, titles: Titles, folder: Path
) -> Draws:
    """What was matched, against every attribution method."""
    for level, matched, attributions in transferred(results, methods):
        for population in COMPARABLE:
            matrices = {
                metric: transfer(results, level, matched, attributions, metric, population, titles, tests)
                for metric in DRAWN
            }
            name = f"{titles.compression(level.compression)} ({level.student.replace('_', ' ')})"
            marks = f"†: ahead of Naive by a deviation; {MARK}: differs from Naive, p < {ALPHA}"
            title = f"Every attribution method, {name}; pairs: {population}; {marks}"
            path = folder / f"transfer_{level.compression}_{level.student}_{population}.png"
            yield partial(draw_transfer, matrices, title, titles, path)


def _of_probes(results: pd.DataFrame, methods: list[str], along: Courses, titles: Titles, folder: Path) -> Draws:
    """Figures of the probes: changed images, layers, untrained layers, retrained classifiers."""
    for level in removals(results):
        for population in COMPARABLE:
            path = folder / f"removal_{level.compression}_{level.student}_{population}.png"
            yield partial(draw_removal, results, level, methods, population, titles, path)
    if likeness := layer_metrics(results):
        rows = [likeness, company_metrics(results)]
        for name, course in along.items():
            if select(course[0].of(results), metric="cka").size:
                yield partial(draw_layers, results, course, methods, rows, titles, folder / f"{name}_layers.png")
    if select(results, compression="teacher")["metric"].eq("untrained").any():
        yield partial(draw_untrained, results, titles, folder / "untrained.png")
    if noise_columns(results):
        yield partial(draw_robustness, results, methods, titles, folder / "robustness.png")
    for level in roars(results):
        yield partial(draw_roar, results, level, methods, titles, folder / f"roar_{level.student}.png")


def _logs(stage: Stage, methods: list[str]) -> dict[str, dict[str, list[pd.DataFrame]]]:
    """Logs of training of every seed, by COMPRESSION_STUDENT and method, or by a network's name without a method."""
    logs: dict[str, dict[str, list[pd.DataFrame]]] = {}
    for compression, below, path in _log_files(stage, methods):
        folders = path.relative_to(below).parts[:-2]
        name = compression if compression == "teacher" else f"{compression}_{folders[0]}"
        log = read_frame(path, STEPS, (*STEPS, *LOGGED), f"run the stage {compression} first")
        logs.setdefault(name, {}).setdefault(folders[-1], []).append(log)
    return logs


def _log_files(stage: Stage, methods: list[str]) -> Iterator[tuple[str, Path, Path]]:
    """Compression, its folder, and the file of every log, in the order of the methods. Only training makes a log."""
    for compression, folder in stage.parameters("folders").items():
        # Below a student lie the entries of `matching`, and below those their methods.
        alone = compression in ("teacher", "scratch")
        for above in ["*"] if alone else [f"*/*/{method}" for method in methods]:
            for group, seeds in stage.parameters("seed_groups").items():
                below = stage.dep(Path("models", group, folder))
                for seed in seeds:
                    for path in sorted(below.glob(f"{above}/{seed_folder(seed)}/log.csv")):
                        yield compression, below, path


class _Heatmaps:
    """Grids of heat maps of the first seed.

    The pairs of a grid are evenly spaced over the pairs that all of its networks predict. If those are too few, they
    are spaced over the pairs that the teacher predicts, or else over all pairs. So a rule chooses them, not a person.
    """

    def __init__(self, stage: Stage, titles: Titles) -> None:
        self._explained, self._titles = Explained(stage), titles
        self._methods = stage.parameters("evaluate.methods")
        everything = int(self._explained.truth.all.sum())
        self._rows = min(stage.section("figures", Figures).heatmap_rows, everything)

    def rows(self, level: Level, name: str) -> list[HeatmapRow]:
        """The grid of one student: its teacher of that name, and its network under each method.

        Raises:
            UserError: there are no maps of its teacher.
        """
        explained = self._explained
        networks = explained.networks(level, name, self._methods)
        evidence = {method: explained.evidence(identity) for method, identity in networks.items()}
        of_teacher = evidence["teacher"]["logits"]
        everyone = explained.truth.common([of_network["logits"] for of_network in evidence.values()])
        choices = (everyone, explained.truth.common([of_teacher]), explained.truth.all)
        candidates = next(pairs for choice in choices if len(pairs := np.flatnonzero(choice)) >= self._rows)
        chosen = candidates[np.linspace(0, len(candidates) - 1, self._rows).round().astype(int)]
        return [
            HeatmapRow(
                f"{explained.class_of}: {explained.class_name(pair, of_teacher)}",
                explained.picture(pair),
                explained.mask(pair),
                {
                    self._titles.network(method, level.compression): of_network["grad_cam"][pair]
                    for method, of_network in evidence.items()
                },
            )
            for pair in chosen
        ]


if __name__ == "__main__":
    run("figures", main)
