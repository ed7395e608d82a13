"""Stage analysis: a paired test of every comparison, over the seeds and images of all scores and probes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from attribution_preservation.errors import UserError
from attribution_preservation.metrics.analysis_settings import Analysis
from attribution_preservation.metrics.comparisons import Comparisons, Truth
from attribution_preservation.metrics.prediction import of_labels
from attribution_preservation.metrics.scored_files import read_scored
from attribution_preservation.metrics.scoring import Row, Scored
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.csv_text import csv_text
from attribution_preservation.storage.files import write_text
from attribution_preservation.storage.identity import Identity, identity_of, network_files, networks_below
from attribution_preservation.storage.tensors import read_arrays

REMEDY = "run the stage evaluate first"
RETRAIN = "run the stage roar first"
# Logits [N, C] of retrained classifiers, by source of the order and seed.
_Retrained = dict[str, dict[int, list[np.ndarray]]]


def main(stage: Stage) -> str:
    """Compare the networks of every student."""
    settings = stage.section("analysis", Analysis)
    groups, batches = list(stage.parameters("seed_groups")), stage.parameters("batches")
    folders = [stage.dep(Path("scores", group, batch)) for group in groups for batch in batches]
    networks = _finished(_files([folder / "pairs" for folder in folders], REMEDY))
    probed = _files([stage.dep(Path("probes", group, "pairs")) for group in groups], "run the stage probe first")

    truth = _truth(folders[0])

    def scored(identity: Identity) -> Scored:
        of_maps = _scored(networks[identity], truth)
        if not of_labels(of_maps.logits, truth.labels):
            raise UserError(f"{networks[identity]} is of another data set; {REMEDY}")
        return of_maps.joined(_scored(probed[identity], truth)) if identity in probed else of_maps

    teachers = {identity.full_network: scored(identity) for identity in networks if identity.compression == "teacher"}
    if not teachers:
        raise UserError(f"scores hold no teacher; {REMEDY}")
    comparisons = Comparisons(truth, settings.resamples, settings.seed)
    students = [identity for identity in networks if identity.compression != "teacher"]
    levels = groupby(sorted(students, key=_order), key=lambda identity: identity.level)
    progress = Progress(len(students), "tests", unit="network")
    rows: list[Row] = []
    for level, members in levels:
        of_methods: dict[str, dict[int, Scored]] = {}
        for identity in members:
            of_methods.setdefault(identity.method, {})[identity.seed] = scored(identity)
        of_level = {seed: teacher for (name, seed), teacher in teachers.items() if name == level["teacher"]}
        rows += [{**level, **row} for row in comparisons.rows(of_level, of_methods)]
        progress.advance(sum(map(len, of_methods.values())))
    rows += _retrained([stage.dep(Path("roar", group)) for group in groups], comparisons)
    progress.close()
    write_text(stage.only_out, csv_text(pd.DataFrame(rows).astype({"iteration": "Int64", "epoch": "Int64"})))
    return f"{len(rows)} comparisons in {stage.only_out}"


def _retrained(folders: Iterable[Path], comparisons: Comparisons) -> Iterator[Row]:
    """Classifiers retrained in the order of every source of maps against those in Naive's, student by student."""
    shared: dict[int, _Retrained] = {}
    of_students: dict[int, dict[Identity, _Retrained]] = {}
    for path in (path for folder in folders for path in network_files(folder)):
        arrays, description = read_arrays(path, RETRAIN)
        identity, logits = identity_of(description, path, RETRAIN), arrays["logits"]
        if identity.compression == "teacher":
            by_source = shared.setdefault(description["percent"], {})
            # As matching methods are kept apart: the teacher's own maps, and orders that know nothing.
            source = "teacher" if description["attribution"] == "grad_cam" else description["attribution"]
        else:
            level = replace(identity, seed=0, method="")
            by_source = of_students.setdefault(description["percent"], {}).setdefault(level, {})
            source = identity.method
        by_source.setdefault(source, {}).setdefault(identity.seed, []).append(logits)
    for percent, levels in sorted(of_students.items()):
        for level, sources in levels.items():
            if "naive" in sources:
                if percent not in shared:
                    raise UserError(f"roar holds no classifier of the teacher's maps; {RETRAIN}")
                for row in comparisons.predictions(sources | shared[percent], "naive"):
                    yield {**level.level, **row, "metric": f"roar_{row['metric']}", "at": percent}


def _files(folders: Iterable[Path], remedy: str) -> dict[Identity, Path]:
    return {identity: path for folder in folders for identity, path in networks_below(folder, remedy).items()}


def _finished(networks: dict[Identity, Path]) -> dict[Identity, Path]:
    """Without the snapshots of training, which no table compares: of each step the last epoch's networks."""
    last: dict[Identity, Identity] = {}
    for identity in sorted(networks, key=_order):
        last[replace(identity, epoch=None)] = identity
    return {identity: networks[identity] for identity in last.values()}


def _order(identity: Identity) -> tuple[str, str, tuple[int, int]]:
    return identity.compression, identity.student, identity.step


def _truth(folder: Path) -> Truth:
    arrays, _ = read_arrays(folder / "truth.safetensors", REMEDY)
    return Truth(arrays["image"], arrays["labels"])


def _scored(path: Path, truth: Truth) -> Scored:
    scored = read_scored(path, REMEDY)
    of_images = all(len(values) == len(truth.labels) for values in scored.images.values())
    if not of_images or any(pairs.max(initial=0) >= len(truth.image) for pairs in scored.explained.values()):
        raise UserError(f"{path} is of another data set; {REMEDY}")
    return scored


if __name__ == "__main__":
    run("analysis", main)
