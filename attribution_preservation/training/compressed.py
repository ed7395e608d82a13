"""The runs of one instance of a stage that compresses: every method of its entry of `matching`, with every seed."""

from pathlib import Path

from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.matching.variants import methods_of, read_entry, seeds_of
from attribution_preservation.pipeline.run.stage import Stage
from attribution_preservation.pipeline.run.training_run import Run
from attribution_preservation.storage.identity import Identity, seed_folder


def compression_runs(stage: Stage) -> tuple[list[Run], dict[str, MatchingSettings]]:
    """Runs by method and seed, and the methods' parameters by name.

    Raises:
        UserError: a parameter does not fit its schema.
    """
    group, student, name = stage.axes["group"], stage.axes["student"], stage.axes["matching"]
    entry = read_entry(name, stage.parameters(f"matching.{name}"))
    matchings = methods_of(name, entry)
    teacher = stage.parameters(f"{stage.name}.teacher")
    teachers = Path("models", group, stage.parameters("folders.teacher"), teacher)
    runs = [
        Run(
            Identity(stage.name, seed, student, method, teacher=teacher),
            Path(method, seed_folder(seed)),
            stage.dep(teachers / seed_folder(seed) / Identity("teacher", seed).file_name),
            {"method": method, "matching": matching.model_dump()},
        )
        for method, matching in matchings.items()
        for seed in seeds_of(entry, stage.parameters(f"seed_groups.{group}"))
    ]
    return runs, matchings


def told(runs: list[Run]) -> str:
    """Methods and seeds of some runs, for people."""
    methods = dict.fromkeys(run.identity.method for run in runs)
    seeds = dict.fromkeys(str(run.identity.seed) for run in runs)
    return f"{', '.join(methods)} with seeds {', '.join(seeds)}"
