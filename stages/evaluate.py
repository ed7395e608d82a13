"""Stage evaluate: every score of one batch of networks, from their maps and logits alone; means, and pair by pair."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from joblib import cpu_count

from attribution_preservation.data.evaluation import EvaluationSet
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.evaluate_settings import Evaluate
from attribution_preservation.metrics.evidence_files import REMEDY, read_evidence
from attribution_preservation.metrics.scored_files import write_scored
from attribution_preservation.metrics.scored_pairs import scored_truth
from attribution_preservation.metrics.scoring import Row, Teacher, baseline_scores, score_level
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.jobs import each
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.files import atomic_directory
from attribution_preservation.storage.identity import Identity, by_level, networks_below
from attribution_preservation.storage.tensors import write_tensors


def main(stage: Stage) -> str:
    """Score one batch of networks of one group of seeds."""
    # Upsampling is the only arithmetic of torch here; one thread gives the same bits everywhere.
    torch.set_num_threads(1)
    settings, framing = stage.section("evaluate", Evaluate), stage.section("input", Framing)
    dataset = stage.dep(Path("data/dataset"))
    batches = stage.axes["batch"], stage.parameters("folders.teacher")
    folders = [stage.dep(Path("maps", stage.axes["group"], batch)) for batch in batches]
    networks, full_networks = (networks_below(folder, REMEDY) for folder in folders)
    for folder, files in zip(folders, (networks, full_networks), strict=True):
        if not files:
            raise UserError(f"{folder} holds no maps; {REMEDY}")
    levels = list(by_level(networks))
    files_of = {identity.full_network: path for identity, path in full_networks.items()}
    evaluation = EvaluationSet(Store(dataset), framing)
    pairs, labels = evaluation.pairs, evaluation.labels
    truth = scored_truth(**vars(pairs), labels=labels)
    evidence = {}
    for name, seed in sorted({identity.full_network for identity in networks}):
        if (name, seed) not in files_of:
            raise UserError(f"maps hold no teacher {name} of seed {seed}; {REMEDY}")
        evidence[name, seed] = read_evidence(files_of[name, seed], pairs, labels)
    teachers = {full_network: Teacher(of_one, truth) for full_network, of_one in evidence.items()}
    baselines = baseline_scores(truth, settings.random_seed)
    with atomic_directory(stage.only_out) as folder:

        def score(level: dict[str, Any], members: list[Identity]) -> list[Row]:
            teacher, students = teachers[members[0].full_network], {}
            if level["compression"] != "teacher":
                logits = teacher.evidence.logits
                students = {of.method: read_evidence(networks[of], pairs, labels, logits) for of in members}
            scored, rows = score_level(teacher, students, settings.methods, truth, baselines)
            for identity in members:
                file = folder / "pairs" / networks[identity].relative_to(folders[0])
                write_scored(file, identity, scored[identity.method])
            return [{**level, "seed": members[0].seed, **row} for row in rows]

        pieces = [partial(score, level, members) for level, members in levels]
        progress = Progress(len(pieces), f"scores of {stage.axes['batch']}", unit="level")
        rows = [row for piece in each(pieces, cpu_count(), done=lambda _: progress.advance(1)) for row in piece]
        pd.DataFrame(rows).to_csv(folder / "results.csv", index=False, lineterminator="\n")
        arrays = {"image": torch.from_numpy(pairs.image), "labels": torch.from_numpy(labels)}
        write_tensors(folder / "truth.safetensors", arrays, {})
        progress.close()
    return f"{len(rows)} figures over {len(pairs)} (image, class) pairs in {stage.only_out}"


if __name__ == "__main__":
    run("evaluate", main)
