"""Stage evaluate: every score of one batch of networks, from their maps and logits alone; means, and pair by pair."""

from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Pairs, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.evaluate_settings import Evaluate
from attribution_preservation.metrics.prediction import of_labels
from attribution_preservation.metrics.scored_pairs import ScoredPairs, scored_truth
from attribution_preservation.metrics.scoring import (
    Evidence,
    Maps,
    Row,
    Scored,
    Teacher,
    baseline_scores,
    score_students,
    student_rows,
    teacher_rows,
)
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.jobs import each
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import validate
from attribution_preservation.storage.files import atomic_directory
from attribution_preservation.storage.identity import Identity, networks_below
from attribution_preservation.storage.tensors import read_arrays, write_tensors

REMEDY = "run the stage attribute first"


def main(stage: Stage) -> str:
    """Score one batch of networks of one group of seeds."""
    # Upsampling is the only arithmetic of torch here; one thread gives the same bits everywhere.
    torch.set_num_threads(1)
    settings = stage.section("evaluate", Evaluate)
    of_group = Path("maps", stage.axes["group"])
    maps = stage.dep(of_group / stage.axes["batch"])
    networks = _networks(maps)
    of_teachers = _networks(stage.dep(of_group / stage.parameters("folders.teacher")))
    teachers = {identity.full_network: path for identity, path in of_teachers}
    questions, pairs = _pairs(stage)
    baselines = baseline_scores(pairs, settings.random_seed)
    with atomic_directory(stage.only_out) as folder:

        def score(teacher: Teacher, level: dict[str, Any], members: list[tuple[Identity, Path]]) -> list[Row]:
            scored: dict[str, Scored]
            if level["compression"] == "teacher":
                scored = {"": teacher.scored(pairs)}
                scores = teacher_rows(teacher, pairs, baselines)
            else:
                logits = teacher.evidence.logits
                students = {identity.method: _evidence(path, questions, pairs, logits) for identity, path in members}
                scored = score_students(teacher, students, settings.methods, pairs)
                scores = student_rows(teacher, students, scored, pairs, baselines)
            for identity, path in members:
                _write_scored(folder / "pairs" / path.relative_to(maps), scored[identity.method], identity)
            return [{**level, "seed": members[0][0].seed, **row} for row in scores]

        pieces = []
        for (name, seed), of_teacher in groupby(networks, key=lambda network: network[0].full_network):
            if (name, seed) not in teachers:
                raise UserError(f"maps hold no teacher {name} of seed {seed}; {REMEDY}")
            teacher = Teacher(_evidence(teachers[name, seed], questions, pairs), pairs)
            for level, members in groupby(of_teacher, key=lambda network: network[0].level):
                pieces.append(partial(score, teacher, level, list(members)))
        progress = Progress(len(pieces), f"scores of {stage.axes['batch']}", unit="level")
        rows = [row for piece in each(pieces, cpu_count(), done=lambda _: progress.advance(1)) for row in piece]
        pd.DataFrame(rows).to_csv(folder / "results.csv", index=False, lineterminator="\n")
        truth = {"image": torch.from_numpy(pairs.image), "labels": torch.from_numpy(pairs.labels)}
        write_tensors(folder / "truth.safetensors", truth, {})
        progress.close()
    return f"{len(rows)} figures over {len(pairs.image)} (image, class) pairs in {stage.only_out}"


def _networks(folder: Path) -> list[tuple[Identity, Path]]:
    """Identity and file of every network whose maps lie below a folder, by teacher and level, methods in file order."""
    files = networks_below(folder, REMEDY)
    if not files:
        raise UserError(f"{folder} holds no maps; {REMEDY}")
    return sorted(
        files.items(),
        key=lambda entry: (entry[0].full_network, entry[0].compression, entry[0].student, entry[0].step),
    )


def _pairs(stage: Stage) -> tuple[Pairs, ScoredPairs]:
    """The pairs as networks are asked about them, and with the truth."""
    store = Store(stage.dep(Path("data/dataset")))
    positions = store.part("val")
    framing = {key: stage.parameters(f"input.{key}") for key in ("size", "resize")}
    pairs = scored_pairs(store, positions, validate(Framing, framing, "input"))
    return pairs, scored_truth(**vars(pairs), labels=store.labels(positions))


def _write_scored(path: Path, scored: Scored, identity: Identity) -> None:
    # Copies: two names for one array, as several methods explain the same pairs, are not for safetensors.
    arrays = {name: torch.tensor(values) for name, values in scored.arrays().items()}
    write_tensors(path, arrays, {"identity": identity.as_dict()})


def _evidence(path: Path, questions: Pairs, pairs: ScoredPairs, of_teacher: np.ndarray | None = None) -> Evidence:
    """What one network's file holds; `of_teacher` are its teacher's logits, None for a teacher's own file."""
    arrays, description = read_arrays(path, REMEDY)
    methods, sizes = description["methods"], description["sizes"]
    if not isinstance(methods, list) or not isinstance(sizes, dict):
        raise UserError(f"{path} does not say which methods and sizes it is of; {REMEDY}")
    every = np.arange(len(pairs.image))
    maps = {
        name: Maps(arrays[name], arrays.get(f"{name}.pairs", every), arrays.get(f"{name}.absorbed"))
        for name in map(str, methods)
    }
    of_pairs = all(len(of_method.values) == len(of_method.pairs) <= len(every) for of_method in maps.values())
    if not of_labels(arrays["logits"], pairs.labels) or not of_pairs:
        raise UserError(f"{path} is of another data set; {REMEDY}")
    if not all(
        np.isfinite(values).all() for values in (arrays["logits"], *(of_method.values for of_method in maps.values()))
    ):
        raise UserError(f"{path} holds what is infinite or no number; {REMEDY}")
    if questions.label is None:
        # Both files may be whole and of one data set, and still be of two runs whose teachers saw other top classes.
        classes = questions.classes(arrays["logits"] if of_teacher is None else of_teacher, arrays["logits"])
        if not np.array_equal(arrays.get("asked", []), classes):
            raise UserError(
                f"{path} explains other classes than its teacher's and its own top ones, as where the two were made on "
                "different machines; make both again (dvc repro -f attribute)"
            )
    figures = {name: value for name, value in sizes.items() if name != "sparsity"}
    return Evidence(maps, arrays["logits"], figures, sizes.get("sparsity"))


if __name__ == "__main__":
    run("evaluate", main)
