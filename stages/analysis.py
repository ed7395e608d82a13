"""Stage analysis: a paired test of every comparison, over the seeds and images of all scores and probes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from attribution_preservation.errors import UserError
from attribution_preservation.metrics.comparisons import Comparisons, Truth
from attribution_preservation.metrics.scoring import Row, Scored
from attribution_preservation.pipeline.run.files import atomic_file
from attribution_preservation.pipeline.run.layout import Identity, network_files
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_description, read_tensors
from attribution_preservation.pipeline.schema.analysis import Analysis

REMEDY = "run the stage evaluate first"
# Logits [N, C] of retrained classifiers, by source of the order and seed.
_Retrained = dict[str, dict[int, list[np.ndarray]]]


def main(stage: Stage) -> str:
    """Compare the networks of every student."""
    settings = stage.section("analysis", Analysis)
    groups, batches = list(stage.parameters("seed_groups")), stage.parameters("batches")
    folders = [stage.dep(Path("scores", group, batch)) for group in groups for batch in batches]
    networks = _finished(_files([folder / "pairs" for folder in folders], REMEDY))
    probed = _files([stage.dep(Path("probes", group, "pairs")) for group in groups], "run the stage probe first")

    def scored(identity: Identity) -> Scored:
        found = _scored(networks[identity])
        return found.joined(_scored(probed[identity])) if identity in probed else found

    teachers = {identity.seed: scored(identity) for identity in networks if identity.compression == "teacher"}
    if not teachers:
        raise UserError(f"scores holds no teacher; {REMEDY}")
    comparisons = Comparisons(_truth(folders[0]), settings.resamples, settings.seed)
    students = [identity for identity in networks if identity.compression != "teacher"]
    levels = groupby(sorted(students, key=_order), key=lambda identity: identity.level)
    progress = Progress(len(students), "tests", unit="network")
    parent = Parent()
    rows: list[Row] = []
    for level, members in levels:
        parent.check()
        found: dict[str, dict[int, Scored]] = {}
        for identity in members:
            found.setdefault(identity.method, {})[identity.seed] = scored(identity)
        rows += [{**level, **row} for row in comparisons.rows(teachers, found)]
        progress.advance(sum(map(len, found.values())))
    rows += _retrained([stage.dep(Path("roar", group)) for group in groups], comparisons)
    progress.close()
    with atomic_file(stage.out) as partial:
        frame = pd.DataFrame(rows).astype({"iteration": "Int64", "epoch": "Int64"})
        # The last bits of matrix products depend on the number of threads.
        frame.to_csv(partial, index=False, lineterminator="\n", float_format="%.10g")
    return f"{len(rows)} comparisons in {stage.out}"


def _retrained(folders: Iterable[Path], comparisons: Comparisons) -> Iterator[Row]:
    """Classifiers retrained in the order of every source of maps against those in Naive's, student by student."""
    shared: dict[int, _Retrained] = {}
    of_students: dict[int, dict[Identity, _Retrained]] = {}
    for path in (path for folder in folders for path in network_files(folder)):
        tensors, told = read_tensors(path, "run the stage roar first")
        identity, logits = Identity(**told["identity"]), tensors["logits"].numpy()
        if identity.compression == "teacher":
            found = shared.setdefault(told["percent"], {})
            # As the matching methods are told apart: the teacher's own maps, and orders that know nothing.
            source = "teacher" if told["attribution"] == "grad_cam" else told["attribution"]
        else:
            level = replace(identity, seed=0, method="")
            found, source = of_students.setdefault(told["percent"], {}).setdefault(level, {}), identity.method
        found.setdefault(source, {}).setdefault(identity.seed, []).append(logits)
    for percent, levels in sorted(of_students.items()):
        for level, sources in levels.items():
            if "naive" in sources:
                for row in comparisons.predictions(sources | shared[percent], "naive"):
                    yield {**level.level, **row, "metric": f"roar_{row['metric']}_{percent}"}


def _files(folders: Iterable[Path], remedy: str) -> dict[Identity, Path]:
    return {
        Identity(**read_description(path, remedy)["identity"]): path
        for folder in folders
        for path in network_files(folder)
    }


def _finished(networks: dict[Identity, Path]) -> dict[Identity, Path]:
    """Without the snapshots of training, which no table compares: of each step the last epoch's networks."""
    last: dict[Identity, Identity] = {}
    for identity in sorted(networks, key=_order):
        last[replace(identity, epoch=None)] = identity
    return {identity: networks[identity] for identity in last.values()}


def _order(identity: Identity) -> tuple[str, str, tuple[int, int]]:
    return identity.compression, identity.student, identity.step


def _truth(folder: Path) -> Truth:
    tensors, _ = read_tensors(folder / "truth.safetensors", REMEDY)
    return Truth(tensors["image"].numpy(), tensors["labels"].numpy())


def _scored(path: Path) -> Scored:
    tensors, _ = read_tensors(path, REMEDY)
    return Scored.of_arrays({name: tensor.numpy() for name, tensor in tensors.items()})


if __name__ == "__main__":
    run("analysis", main)
