"""Stage analysis: a paired test of every comparison, over the seeds and images of all scores."""

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
Level = tuple[str, str, int]


def main(stage: Stage) -> str:
    """Compare the networks of every student."""
    settings = stage.section("analysis", Analysis)
    folders = [
        stage.dep(Path("scores", group, batch))
        for group in stage.parameters("seed_groups")
        for batch in stage.parameters("batches")
    ]
    networks = {
        Identity(**read_description(path, REMEDY)["identity"]): path
        for folder in folders
        for path in network_files(folder / "pairs")
    }
    teachers = {
        identity.seed: _scored(path) for identity, path in networks.items() if identity.compression == "teacher"
    }
    if not teachers:
        raise UserError(f"scores holds no teacher; {REMEDY}")
    comparisons = Comparisons(_truth(folders[0]), settings.resamples, settings.seed)
    levels = sorted({_level(identity) for identity in networks if identity.compression != "teacher"})
    progress = Progress(len(levels), "tests", unit="level")
    parent = Parent()
    rows: list[Row] = []
    for level in levels:
        parent.check()
        students: dict[str, dict[int, Scored]] = {}
        for identity, path in networks.items():
            if _level(identity) == level:
                students.setdefault(identity.method, {})[identity.seed] = _scored(path)
        compression, student, iteration = level
        where = {"compression": compression, "student": student, "iteration": iteration or None}
        rows += [{**where, **row} for row in comparisons.rows(teachers, students)]
        progress.advance(1)
    progress.close()
    with atomic_file(stage.out) as partial:
        frame = pd.DataFrame(rows).astype({"iteration": "Int64"})
        # The last bits of matrix products depend on the number of threads.
        frame.to_csv(partial, index=False, lineterminator="\n", float_format="%.10g")
    return f"{len(rows)} comparisons in {stage.out}"


def _level(identity: Identity) -> Level:
    return identity.compression, identity.student, identity.iteration


def _truth(folder: Path) -> Truth:
    tensors, _ = read_tensors(folder / "truth.safetensors", REMEDY)
    return Truth(tensors["image"].numpy(), tensors["labels"].numpy())


def _scored(path: Path) -> Scored:
    tensors, _ = read_tensors(path, REMEDY)
    return Scored.of_arrays({name: tensor.numpy() for name, tensor in tensors.items()})


if __name__ == "__main__":
    run("analysis", main)
