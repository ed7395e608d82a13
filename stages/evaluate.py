"""Stage evaluate: every score of one batch of networks, from their maps and logits alone."""

from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from attribution_preservation.data.inputs import scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.scoring import (
    Evidence,
    Maps,
    Row,
    ScoredPairs,
    Teacher,
    baseline_scores,
    student_rows,
    teacher_rows,
)
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Identity, network_files
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_description, read_tensors
from attribution_preservation.pipeline.schema.evaluate import Evaluate

REMEDY = "run the stage attribute first"


def main(stage: Stage) -> str:
    """Score one batch of networks of one group of seeds."""
    # Upsampling is the only arithmetic of torch here; one thread gives the same bits everywhere.
    torch.set_num_threads(1)
    settings = stage.section("evaluate", Evaluate)
    folder = Path("maps", stage.axes["group"])
    networks = _networks(stage.dep(folder / stage.axes["batch"]))
    teachers = {
        identity.seed: path for identity, path in _networks(stage.dep(folder / stage.parameters("folders.teacher")))
    }
    pairs = _pairs(stage)
    baselines = baseline_scores(pairs, settings.random_seed)
    progress = Progress(len(networks), f"scores of {stage.axes['batch']}", unit="network")
    rows: list[Row] = []
    parent = Parent()
    for seed, of_seed in groupby(networks, key=lambda found: found[0].seed):
        teacher = Teacher(_evidence(teachers[seed], pairs), pairs)
        for level, members in groupby(of_seed, key=lambda found: _level(found[0])):
            parent.check()
            found = dict(members)
            compression, student, iteration = level
            if compression == "teacher":
                scores = teacher_rows(teacher, pairs, baselines)
            else:
                students = {identity.method: _evidence(path, pairs) for identity, path in found.items()}
                scores = student_rows(teacher, students, settings.methods, pairs, baselines)
            where = {"compression": compression, "seed": seed, "student": student, "iteration": iteration or None}
            rows += [{**where, **row} for row in scores]
            progress.advance(len(found))
    progress.close()
    with atomic_directory(stage.out) as partial:
        pd.DataFrame(rows).to_csv(partial / "results.csv", index=False, lineterminator="\n")
    return f"{len(rows)} figures over {len(pairs.label)} (image, class) pairs in {stage.out}"


def _level(identity: Identity) -> tuple[str, str, int]:
    """What networks have in common that differ in nothing but the method."""
    return identity.compression, identity.student, identity.iteration


def _networks(folder: Path) -> list[tuple[Identity, Path]]:
    """Identity and file of every network whose maps lie below a folder, by seed and level, methods in file order."""
    found = [(Identity(**read_description(path, REMEDY)["identity"]), path) for path in network_files(folder)]
    if not found:
        raise UserError(f"{folder} holds no maps; {REMEDY}")
    return sorted(found, key=lambda entry: (entry[0].seed, _level(entry[0])))


def _pairs(stage: Stage) -> ScoredPairs:
    store = Store(stage.dep(Path("data/dataset")))
    positions = store.part("val")
    pairs = scored_pairs(store, positions, stage.parameters("input.size"))
    return ScoredPairs(pairs.image, pairs.label, pairs.masks, pairs.mask_row, store.labels(positions))


def _evidence(path: Path, pairs: ScoredPairs) -> Evidence:
    tensors, description = read_tensors(path, REMEDY)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    every = np.arange(len(pairs.label))
    maps = {
        name: Maps(arrays[name], arrays.get(f"{name}.pairs", every), arrays.get(f"{name}.absorbed"))
        for name in description["methods"]
    }
    sizes = description["sizes"]
    return Evidence(maps, arrays["logits"], sizes, sizes.pop("sparsity"))


if __name__ == "__main__":
    run("evaluate", main)
