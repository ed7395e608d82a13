"""Every stage that compresses: one compression, one student, the methods of one entry of `matching`.

`scratch`, the baseline of small networks trained alone, is one of them.
"""

from attribution_preservation.compression.compression import Compression, Constraint, Plan
from attribution_preservation.compression.shape import Frame
from attribution_preservation.entries import entry_of
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.models.teacher_settings import DROPOUT
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.compression_runs import compression_runs, section_of, summary
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.training_run import TrainingRun, train_all
from attribution_preservation.training.loop import Trainer


def main(stage: Stage) -> str:
    """Train one student with each seed of a group, under every method of one entry of `matching`."""
    compression = entry_of(Compression, stage.name)
    section = section_of(stage, compression)
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
    return f"{steps}{summary(runs)} in {stage.only_out}"


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


if __name__ == "__main__":
    run("compress", main)
