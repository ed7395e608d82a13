"""Stage figures: score-against-sparsity curves with the numbers behind them, and a grid of heat maps."""

from pathlib import Path

import numpy as np

from attribution_preservation.data.inputs import evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Network
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_tensors
from attribution_preservation.pipeline.schema.reports import Figures
from attribution_preservation.reporting.curves import CURVES, curve_table, draw_curves
from attribution_preservation.reporting.heatmaps import HeatmapRow, draw_heatmaps
from attribution_preservation.reporting.results import read_results


def main(stage: Stage) -> str:
    """Draw the figures."""
    figures, plots = stage.outs
    results = read_results(stage.dep(Path("scores")), stage.parameters("seed_groups"), stage.parameters("profile"))
    with atomic_directory(figures) as folder:
        for population in ("own", "common", "all"):
            draw_curves(results, population, folder / f"curves_{population}.png")
        draw_heatmaps(_heatmap_rows(stage), folder / "heatmaps.png")
    with atomic_directory(plots) as folder:
        for metric, (_, _, population) in CURVES.items():
            table = curve_table(results, metric, population)
            table.to_csv(folder / f"{metric}.csv", index=False, lineterminator="\n")
    return f"curves and heat maps in {figures}, the curves' numbers in {plots}"


def _heatmap_rows(stage: Stage) -> list[HeatmapRow]:
    """Pairs of the first seed, evenly spaced over the evaluation set: chosen by rule, not by looking.

    They are pairs that every network predicts; where those are too few, that the teacher predicts; else any.
    """
    settings = stage.section("figures", Figures)
    group, seeds = next(iter(stage.parameters("seed_groups").items()))
    networks = {"Teacher": Network("teacher", group, seeds[0])} | {
        method: Network("prune_weights", group, seeds[0], method, settings.heatmap_iteration)
        for method in stage.parameters("prune_weights.methods")
    }
    evidence = {
        name: read_tensors(stage.dep(network.below(Path("maps"))), "run the stage attribute first")[0]
        for name, network in networks.items()
    }
    store, size = Store(stage.dep(Path("data/dataset"))), stage.parameters("input.size")
    positions = store.part("val")
    pairs = scored_pairs(store, positions, size)
    predicted = {name: e["logits"].numpy()[pairs.image, pairs.label] > 0 for name, e in evidence.items()}
    choices = (np.logical_and.reduce(list(predicted.values())), predicted["Teacher"], np.ones(len(pairs), dtype=bool))
    rows = min(settings.heatmap_rows, len(pairs))
    candidates = next(found for choice in choices if len(found := np.flatnonzero(choice)) >= rows)
    chosen = candidates[np.linspace(0, len(candidates) - 1, rows).round().astype(int)]
    images = evaluation_images(store, [positions[pairs.image[pair]] for pair in chosen], size)
    return [
        HeatmapRow(
            store.classes[pairs.label[pair]],
            image.permute(1, 2, 0).numpy(),
            pairs.masks[pairs.mask_row[pair]] == pairs.label[pair] + 1,
            {name: e["grad_cam"][pair].numpy() for name, e in evidence.items()},
        )
        for pair, image in zip(chosen, images, strict=True)
    ]


if __name__ == "__main__":
    run("figures", main)
