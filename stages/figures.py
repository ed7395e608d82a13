"""Stage figures: scores of every compression, along iterations and sweeps, with the numbers; grids of heat maps."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed

from attribution_preservation.data.inputs import evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.pairs import scored_truth
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Identity, networks_below
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_arrays
from attribution_preservation.pipeline.schema.base import validate
from attribution_preservation.pipeline.schema.data import Framing
from attribution_preservation.pipeline.schema.matching import read_entry
from attribution_preservation.pipeline.schema.reports import Figures
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
from attribution_preservation.reporting.probes import (
    company_metrics,
    draw_removal,
    draw_robustness,
    draw_untrained,
    layer_metrics,
    noise_columns,
    removals,
)
from attribution_preservation.reporting.results import (
    Level,
    compressions,
    display_name,
    finished,
    last_levels,
    measured,
    read_results,
    result_files,
    select,
    teacher_of,
)
from attribution_preservation.reporting.roar import draw_roar, roars
from attribution_preservation.reporting.significance import ALPHA, MARK, read_tests
from attribution_preservation.reporting.sweeps import draw_sweeps, find_sweeps
from attribution_preservation.reporting.transfer import DRAWN, SHOWN, draw_transfer, transfer, transferred

REMEDY = "run the stage attribute first"
POPULATIONS = ("own", "common", "all")


def main(stage: Stage) -> str:
    """Draw the figures."""
    figures, plots = stage.outs
    section = stage.parameters("matching")
    methods = stage.parameters("evaluate.methods")
    files = result_files(stage.parameters("seed_groups"), stage.parameters("batches"))
    results = read_results([stage.dep(path) for path in files], stage.parameters("profile"))
    tests = read_tests(stage.dep(Path("analysis/significance.csv")))
    heatmaps = _Heatmaps(stage)
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
        draws: list[Callable[[], None]] = []
        for population in POPULATIONS:
            path = folder / f"compressions_{population}.png"
            draws.append(partial(draw_comparison, results, methods, population, path))
            for name, course in along.items():
                path, origin = folder / f"{name}_{population}.png", folder / f"{name}_origin_{population}.png"
                draws.append(partial(draw_curves, results, course, methods, population, path))
                draws.append(partial(draw_origin, results, course, methods, population, origin))
            for name, history in repairs.items():
                path = folder / f"{name}_repair_{population}.png"
                draws.append(partial(draw_curves, results, history, methods, population, path))
        entries = {name: read_entry(name, section[name]) for name in stage.parameters("prune_channels.matchings")}
        if sweeps := find_sweeps(entries, methods):
            for level in last_levels(results, "prune_channels"):
                for population in POPULATIONS:
                    path = folder / f"sweeps_{level.student}_{population}.png"
                    draws.append(partial(draw_sweeps, results, level, sweeps, population, path))
        for level, matched, attributions in transferred(results, methods):
            for population in SHOWN:
                matrices = {
                    metric: transfer(results, level, matched, attributions, metric, population, tests)
                    for metric in DRAWN
                }
                name = f"{display_name(level.compression)} ({level.student.replace('_', ' ')})"
                marks = f"†: ahead of Naive by a deviation; {MARK}: differs from Naive, p < {ALPHA}"
                title = f"Every attribution method, {name}; pairs: {population}; {marks}"
                path = folder / f"transfer_{level.compression}_{level.student}_{population}.png"
                draws.append(partial(draw_transfer, matrices, title, path))
        for level in removals(results):
            for population in SHOWN:
                path = folder / f"removal_{level.compression}_{level.student}_{population}.png"
                draws.append(partial(draw_removal, results, level, methods, population, path))
        if likeness := layer_metrics(results):
            shown = [likeness, company_metrics(results)]
            for name, course in along.items():
                if select(course[0].of(results), metric=next(iter(likeness))).size:
                    draws.append(partial(draw_layers, results, course, methods, shown, folder / f"{name}_layers.png"))
        if select(results, compression="teacher")["metric"].str.startswith("untrained_").any():
            draws.append(partial(draw_untrained, results, folder / "untrained.png"))
        if noise_columns(results):
            draws.append(partial(draw_robustness, results, methods, folder / "robustness.png"))
        for level in roars(results):
            draws.append(partial(draw_roar, results, level, methods, folder / f"roar_{level.student}.png"))
        for compression in compressions(results):
            first = last_levels(results, compression)[0]
            rows = heatmaps.rows(first, str(teacher_of(results, first)))
            draws.append(partial(draw_heatmaps, rows, folder / f"heatmaps_{compression}.png"))
        _draw_all(draws)
    with atomic_directory(plots) as folder:
        for metric in measured(results, PLOTTED):
            population = PLOTTED[metric]
            for name, course in along.items():
                table = curve_table(results, course, methods, metric, population)
                table.to_csv(folder / f"{name}_{metric}.csv", index=False, lineterminator="\n")
            for name, history in repairs.items():
                table = curve_table(results, history, methods, metric, population)
                table.to_csv(folder / f"{name}_repair_{metric}.csv", index=False, lineterminator="\n")
    return f"figures in {figures}, the curves' numbers in {plots}"


def _draw_all(draws: list[Callable[[], None]]) -> None:
    """Draw every figure, in as many processes as there are cores: matplotlib spends its time in Python."""
    count = min(cpu_count(), len(draws))
    # One task per process, so that the results that all figures share travel to each process once.
    Parallel(n_jobs=count)(delayed(_draw)(draws[start::count]) for start in range(count))


def _draw(draws: list[Callable[[], None]]) -> None:
    for draw in draws:
        draw()


class _Heatmaps:
    """Grids of heat maps of the first seed.

    The pairs of a grid are evenly spaced over those that all of its networks predict; where those are too few, that
    the teacher predicts; else over all: chosen by rule, not by looking.
    """

    def __init__(self, stage: Stage) -> None:
        group, seeds = next(iter(stage.parameters("seed_groups").items()))
        self._seed, self._methods = seeds[0], stage.parameters("evaluate.methods")
        self._maps = stage.dep(Path("maps", group))
        self._files = networks_below(self._maps, REMEDY)
        self._store = Store(stage.dep(Path("data/dataset")))
        framing = {key: stage.parameters(f"input.{key}") for key in ("size", "resize")}
        self._framing = validate(Framing, framing, "input")
        self._positions = self._store.part("val")
        self._pairs = scored_pairs(self._store, self._positions, self._framing)
        self._truth = scored_truth(**vars(self._pairs), labels=self._store.labels(self._positions))
        self._rows = min(stage.section("figures", Figures).heatmap_rows, int(self._truth.all.sum()))

    def rows(self, level: Level, name: str) -> list[HeatmapRow]:
        """The grid of one student: its teacher of that name, and its network under each method.

        Raises:
            UserError: there are no maps of its teacher.
        """
        teacher = Identity("teacher", self._seed, teacher=name)
        if teacher not in self._files:
            raise UserError(f"{self._maps} holds no teacher {name} of seed {self._seed}; {REMEDY}")
        student = Identity(level.compression, self._seed, level.student, "", level.iteration or 0, level.epoch, name)
        wanted = {"Teacher": teacher} | {
            display_name(method or level.compression): replace(student, method=method)
            for method in [*self._methods, ""]
        }
        evidence = {
            name: read_arrays(self._files[found], REMEDY)[0] for name, found in wanted.items() if found in self._files
        }
        pairs, store = self._pairs, self._store
        of_teacher = evidence["Teacher"]["logits"]
        classes = pairs.classes(of_teacher, of_teacher)
        told = "truth" if pairs.label is not None else "teacher's top class"
        everyone = self._truth.common([e["logits"] for e in evidence.values()])
        choices = (everyone, self._truth.common([of_teacher]), self._truth.all)
        candidates = next(found for choice in choices if len(found := np.flatnonzero(choice)) >= self._rows)
        chosen = candidates[np.linspace(0, len(candidates) - 1, self._rows).round().astype(int)]
        images = evaluation_images(store, [self._positions[pairs.image[pair]] for pair in chosen], self._framing)
        return [
            HeatmapRow(
                f"{told}: {store.classes[classes[pair]]}",
                image.permute(1, 2, 0).numpy(),
                pairs.masks[pairs.mask_row[pair]] == self._truth.inside[pair] + 1,
                {name: e["grad_cam"][pair] for name, e in evidence.items()},
            )
            for pair, image in zip(chosen, images, strict=True)
        ]


if __name__ == "__main__":
    run("figures", main)
