"""Training of one instance of a stage that compresses: every method of its entry of `matching`, with every seed."""

from pathlib import Path
from typing import Any

from attribution_preservation.compression.compression import Compression, CompressionSettings, Constraint, Plan
from attribution_preservation.compression.shape import Frame
from attribution_preservation.entries import entry_of
from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.matching.variants import ENTRY, methods_of, seeds_of
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.models.teacher_settings import DROPOUT
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.training_run import Run, TrainingRun, train_all
from attribution_preservation.settings import validate
from attribution_preservation.storage.identity import Identity, seed_folder
from attribution_preservation.training.loop import Trainer


def compress(stage: Stage) -> str:
    """Train one student with each seed of a group, under every method of one entry of `matching`.

    Returns:
        What was trained, in words.
    """
    compression = entry_of(Compression, stage.name)
    section = _section_of(stage, compression)
    settings = section.students[stage.axes["student"]]
    plan = compression.plan(section, settings)
    runs, matchings = compression_runs(stage, section.teacher, compression.matched)

    def train(training: TrainingRun) -> None:
        if compression.matched:
            teacher = training.teacher()
            frame = Frame(teacher.classes, teacher.input_size, teacher.head.dropout)
        else:
            dropout = stage.section(f"teacher.networks.{section.teacher}.dropout", DROPOUT)
            frame = Frame(len(training.store.classes), training.input.size, dropout)
        training.seed_initial()
        student = compression.student(settings, frame, training.teacher)
        if compression.matched:
            matching = matchings[training.run.identity.method]
            objective = compression.objective(section, student, teacher, matching)
        else:
            objective = TaskObjective(student)
        constraint = compression.constraint(settings, student) if compression.constraint else None
        trainer = training.trainer(objective, plan.schedule, len(plan.phases))
        _fit(training, trainer, student, plan, constraint)

    train_all(stage, runs, train, mean_ap)
    steps = f"{plan.iterations} iterations, " if plan.iterations else ""
    return f"{steps}{_summary(runs)} in {stage.only_out}"


def _section_of(stage: Stage, compression: Compression) -> CompressionSettings:
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
    entry = stage.section(f"matching.{name}", ENTRY)
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


def _fit(training: TrainingRun, trainer: Trainer, student: Network, plan: Plan, constraint: Constraint | None) -> None:
    """Train over all phases, from where the run stopped, and save the networks that the plan asks for."""
    start, schedule = training.start, plan.schedule
    saved = None if plan.snapshots is None else {*plan.snapshots, schedule.epochs}
    for phase in plan.phases:
        if start and phase < start.phase:
            continue

        def save(epoch: int, phase: int = phase) -> None:
            masks = constraint.state() if constraint else None
            if saved is None:
                if epoch == schedule.epochs:
                    training.keep(student, phase, masks=masks)
            elif epoch in saved:
                training.keep(student, phase, epoch, masks)

        if constraint and start:
            constraint.load_state(start.tensors["masks"])
        elif constraint:
            constraint.begin(phase)
        if start is None:
            save(0)
        trainer.fit(
            schedule,
            phase=phase,
            start=start,
            note=f"iteration {phase}/{plan.iterations}, " if plan.iterations else "",
            after_step=constraint.apply if constraint else lambda: None,
            after_epoch=save,
            masks=constraint.state if constraint else dict,
        )
        start = None
    training.finish(trainer)


def _summary(runs: list[Run]) -> str:
    """Methods and seeds of some runs, for people."""
    methods = dict.fromkeys(run.identity.method for run in runs if run.identity.method)
    seeds = ", ".join(dict.fromkeys(str(run.identity.seed) for run in runs))
    return f"{', '.join(methods) or runs[0].identity.student} with seeds {seeds}"
