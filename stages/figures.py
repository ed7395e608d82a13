"""Stage figures: scores of every compression, along iterations and sweeps, with the numbers; grids of heat maps."""

from pathlib import Path

import numpy as np
import pandas as pd

from attribution_preservation.data.inputs import evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Identity, network_files
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_description, read_tensors
from attribution_preservation.pipeline.schema.matching import MatchingSweep, methods_of, read_entry
from attribution_preservation.pipeline.schema.reports import Figures
from attribution_preservation.reporting.comparison import draw_comparison
from attribution_preservation.reporting.curves import PLOTTED, courses, curve_table, draw_curves
from attribution_preservation.reporting.heatmaps import HeatmapRow, draw_heatmaps
from attribution_preservation.reporting.results import compressions, display_name, last_levels, read_results
from attribution_preservation.reporting.sweeps import Sweep, draw_sweeps

REMEDY = "run the stage attribute first"
POPULATIONS = ("own", "common", "all")


def main(stage: Stage) -> str:
    """Draw the figures."""
    figures, plots = stage.outs
    methods = stage.parameters("evaluate.methods")
    results = read_results(
        stage.dep(Path("scores")),
        stage.parameters("seed_groups"),
        stage.parameters("batches"),
        stage.parameters("profile"),
    )
    along = {
        f"{compression}_{student}": course
        for compression in compressions(results)
        for student, course in courses(results, compression).items()
    }
    with atomic_directory(figures) as folder:
        for population in POPULATIONS:
            draw_comparison(results, methods, population, folder / f"compressions_{population}.png")
            for name, course in along.items():
                draw_curves(results, course, methods, population, folder / f"{name}_{population}.png")
        if sweeps := _sweeps(stage, methods):
            for level in last_levels(results, "prune_channels"):
                for population in POPULATIONS:
                    draw_sweeps(results, level, sweeps, population, folder / f"sweeps_{level.student}_{population}.png")
        for compression in compressions(results):
            _draw_heatmaps(stage, results, compression, folder / f"heatmaps_{compression}.png")
    with atomic_directory(plots) as folder:
        for metric, population in PLOTTED.items():
            for name, course in along.items():
                table = curve_table(results, course, methods, metric, population)
                table.to_csv(folder / f"{name}_{metric}.csv", index=False, lineterminator="\n")
    return f"figures in {figures}, the curves' numbers in {plots}"


def _sweeps(stage: Stage, methods: list[str]) -> list[Sweep]:
    """The sweeps of channel pruning; a compared method that is the swept one at some value is a point of its sweep."""
    section = stage.parameters("matching")
    entries = {name: read_entry(name, value) for name, value in section.items()}
    every = {method: found for name, entry in entries.items() for method, found in methods_of(name, entry).items()}
    found = []
    for name in stage.parameters("prune_channels.matchings"):
        entry = entries[name]
        if not isinstance(entry, MatchingSweep):
            continue
        points = dict(zip(entry.values, methods_of(name, entry), strict=True))
        for method in methods:
            value = getattr(every[method], entry.sweep)
            if every[method] == entry.of.model_copy(update={entry.sweep: value}):
                points.setdefault(value, method)
        logarithmic = entry.sweep == "strength" and min(points) > 0
        found.append(Sweep(name, entry.sweep, dict(sorted(points.items())), logarithmic))
    return found


def _draw_heatmaps(stage: Stage, results: pd.DataFrame, compression: str, path: Path) -> None:
    """Grid of the first student at its last level, first seed.

    The pairs are evenly spaced over those that every network predicts; where those are too few, that the teacher
    predicts; else over all: chosen by rule, not by looking.
    """
    settings, methods = stage.section("figures", Figures), stage.parameters("evaluate.methods")
    group, seeds = next(iter(stage.parameters("seed_groups").items()))
    level = last_levels(results, compression)[0]
    files = {
        Identity(**read_description(file, REMEDY)["identity"]): file
        for file in network_files(stage.dep(Path("maps", group)))
    }
    wanted = {"Teacher": Identity("teacher", seeds[0])} | {
        display_name(method or compression): Identity(
            compression, seeds[0], level.student, method, level.iteration or 0
        )
        for method in [*methods, ""]
    }
    evidence = {name: read_tensors(files[found], REMEDY)[0] for name, found in wanted.items() if found in files}
    store, size = Store(stage.dep(Path("data/dataset"))), stage.parameters("input.size")
    positions = store.part("val")
    pairs = scored_pairs(store, positions, size)
    predicted = {name: e["logits"].numpy()[pairs.image, pairs.label] > 0 for name, e in evidence.items()}
    choices = (np.logical_and.reduce(list(predicted.values())), predicted["Teacher"], np.ones(len(pairs), dtype=bool))
    rows = min(settings.heatmap_rows, len(pairs))
    candidates = next(found for choice in choices if len(found := np.flatnonzero(choice)) >= rows)
    chosen = candidates[np.linspace(0, len(candidates) - 1, rows).round().astype(int)]
    images = evaluation_images(store, [positions[pairs.image[pair]] for pair in chosen], size)
    draw_heatmaps(
        [
            HeatmapRow(
                store.classes[pairs.label[pair]],
                image.permute(1, 2, 0).numpy(),
                pairs.masks[pairs.mask_row[pair]] == pairs.label[pair] + 1,
                {name: e["grad_cam"][pair].numpy() for name, e in evidence.items()},
            )
            for pair, image in zip(chosen, images, strict=True)
        ],
        path,
    )


if __name__ == "__main__":
    run("figures", main)
