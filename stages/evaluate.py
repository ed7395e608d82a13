"""Stage evaluate: every score of one compression's networks, from their maps and logits alone."""

import json
from pathlib import Path

import pandas as pd
import torch

from attribution_preservation.data.inputs import scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.metrics.scoring import (
    Evidence,
    Row,
    ScoredPairs,
    baseline_scores,
    student_rows,
    teacher_rows,
)
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Network, pruned
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_tensors
from attribution_preservation.pipeline.schema.evaluate import Evaluate


def main(stage: Stage) -> str:
    """Score one compression and group of seeds."""
    # Upsampling is the only arithmetic of torch here; one thread gives the same bits everywhere.
    torch.set_num_threads(1)
    group = stage.axes["group"]
    seeds = stage.parameters(f"seed_groups.{group}")
    pairs = _pairs(stage)
    baselines = baseline_scores(pairs, stage.section("evaluate", Evaluate).random_seed)
    progress = Progress(len(seeds), f"scores of {stage.axes['compression']}", unit="seed")
    rows: list[Row] = []
    parent = Parent()
    for seed in seeds:
        parent.check()
        teacher = _evidence(stage, Network("teacher", group, seed))
        if stage.axes["compression"] == "teacher":
            found = teacher_rows(teacher, pairs, baselines)
        else:
            found = student_rows(teacher, _students(stage, group, seed), pairs, baselines)
        rows += [{"compression": stage.axes["compression"], "seed": seed, **row} for row in found]
        progress.advance(1)
    progress.close()
    with atomic_directory(stage.out) as partial:
        pd.DataFrame(rows).to_csv(partial / "results.csv", index=False, lineterminator="\n")
    return f"{len(rows)} figures over {len(pairs.label)} (image, class) pairs in {stage.out}"


def _pairs(stage: Stage) -> ScoredPairs:
    store = Store(stage.dep(Path("data/dataset")))
    positions = store.part("val")
    pairs = scored_pairs(store, positions, stage.parameters("input.size"))
    return ScoredPairs(pairs.image, pairs.label, pairs.masks, pairs.mask_row, store.labels(positions))


def _students(stage: Stage, group: str, seed: int) -> dict[str, dict[int, Evidence]]:
    methods, iterations = stage.parameters("prune_weights.methods"), stage.parameters("prune_weights.iterations")
    students: dict[str, dict[int, Evidence]] = {method: {} for method in methods}
    for network in pruned(group, [seed], methods, iterations):
        students[network.method][network.iteration] = _evidence(stage, network)
    return students


def _evidence(stage: Stage, network: Network) -> Evidence:
    tensors, texts = read_tensors(stage.dep(network.below(Path("maps"))), "run the stage attribute first")
    sizes = json.loads(texts["network"])
    maps = {name: tensors[name].numpy() for name in stage.parameters("attribute.methods")}
    return Evidence(maps, tensors["logits"].numpy(), sizes, sizes.pop("sparsity"))


if __name__ == "__main__":
    run("evaluate", main)
