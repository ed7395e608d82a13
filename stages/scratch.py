"""Stage scratch: small networks trained without a teacher, the baseline of every compression."""

from pathlib import Path

from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.build import build
from attribution_preservation.models.teacher_settings import DROPOUT
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.training_run import Run, Workplace, train_all
from attribution_preservation.pipeline.schema.compression import Shape
from attribution_preservation.storage.identity import Identity, seed_folder
from attribution_preservation.training.objective import TaskObjective


def main(stage: Stage) -> str:
    """Train one small network with each seed of a group."""
    name = stage.axes["student"]
    shape = stage.section(f"scratch.students.{name}", Shape)
    schedule = stage.section("scratch.optimization", Optimization)
    teacher = stage.parameters("scratch.teacher")
    dropout = stage.section(f"teacher.networks.{teacher}.dropout", DROPOUT)
    seeds = stage.parameters(f"seed_groups.{stage.axes['group']}")
    runs = [Run(Identity("scratch", seed, name, teacher=teacher), Path(seed_folder(seed))) for seed in seeds]

    def train(place: Workplace) -> None:
        place.seed_initial()
        student = build(
            **shape.model_dump(), classes=len(place.store.classes), input_size=place.shown.size, dropout=dropout
        )
        place.fit_once(TaskObjective(student), schedule)

    train_all(stage, runs, train, mean_ap)
    return f"{name} with seeds {', '.join(map(str, seeds))} in {stage.out}"


if __name__ == "__main__":
    run("scratch", main)
