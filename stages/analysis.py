"""Stage analysis: a paired test of every comparison, over the seeds and images of all scores and probes."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

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
    progress.close()
    with atomic_file(stage.out) as partial:
        frame = pd.DataFrame(rows).astype({"iteration": "Int64", "epoch": "Int64"})
        # The last bits of matrix products depend on the number of threads.
        frame.to_csv(partial, index=False, lineterminator="\n", float_format="%.10g")
    return f"{len(rows)} comparisons in {stage.out}"


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
