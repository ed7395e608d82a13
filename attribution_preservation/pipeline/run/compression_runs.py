"""The runs of one instance of a stage that compresses: every method of its entry of `matching`, with every seed."""

from pathlib import Path
from typing import Any

from attribution_preservation.compression.compression import Compression, CompressionSettings
from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.matching.variants import methods_of, read_entry, seeds_of
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.training_run import Run
from attribution_preservation.settings import validate
from attribution_preservation.storage.identity import Identity, seed_folder


def section_of(stage: Stage, compression: Compression) -> CompressionSettings:
    """The compression's section of params.yaml as one instance sees it: with its own student and entry alone.

    Raises:
        UserError: a parameter does not fit its schema.
    """
    values: dict[str, Any] = {}
    for key in stage.declared_parameters:
        first, *parts = key.split(".")
        if first == stage.name:
            below = values
            for part in parts[:-1]:
                below = below.setdefault(part, {})
            below[parts[-1]] = stage.parameters(key)
    if compression.matched:
        values["matchings"] = [stage.axes["matching"]]
    return validate(compression.settings, values, stage.name)


def compression_runs(stage: Stage, teacher: str, matched: bool) -> tuple[list[Run], dict[str, MatchingSettings]]:
    """Runs by method and seed, and the methods' parameters by name; a run by seed and no method without matching.

    Args:
        stage: the instance.
        teacher: name of the network that is compressed, or compared with.
        matched: whether students are trained under an entry of `matching`, from a teacher's file.

    Raises:
        UserError: a parameter does not fit its schema.
    """
    group, student = stage.axes["group"], stage.axes["student"]
    seeds = stage.parameters(f"seed_groups.{group}")
    if not matched:
        runs = [Run(Identity(stage.name, seed, student, teacher=teacher), Path(seed_folder(seed))) for seed in seeds]
        return runs, {}
    name = stage.axes["matching"]
    entry = read_entry(name, stage.parameters(f"matching.{name}"))
    matchings = methods_of(name, entry)
    teachers = Path("models", group, stage.parameters("folders.teacher"), teacher)
    runs = [
        Run(
            Identity(stage.name, seed, student, method, teacher=teacher),
            Path(method, seed_folder(seed)),
            stage.dep(teachers / seed_folder(seed) / Identity("teacher", seed).file_name),
            {"method": method, "matching": matching.model_dump()},
        )
        for method, matching in matchings.items()
        for seed in seeds_of(entry, seeds)
    ]
    return runs, matchings


def summary(runs: list[Run]) -> str:
    """Methods and seeds of some runs, for people."""
    methods = dict.fromkeys(run.identity.method for run in runs if run.identity.method)
    seeds = ", ".join(dict.fromkeys(str(run.identity.seed) for run in runs))
    return f"{', '.join(methods) or runs[0].identity.student} with seeds {seeds}"
