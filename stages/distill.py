"""Stage distill: a narrower network learns from its teacher's logits, and under matching methods from its maps."""

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.build import build
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.training_run import Workplace, train_all
from attribution_preservation.pipeline.schema.compression import SNAPSHOTS, Logits, Shape
from attribution_preservation.training.compressed import compression_runs, told


def main(stage: Stage) -> str:
    """Distil the teachers of one group of seeds into one student, under the methods of one entry of `matching`."""
    shape = stage.section(f"distill.students.{stage.axes['student']}", Shape)
    schedule = stage.section("distill.optimization", Optimization)
    logits = stage.section("distill.logits", Logits)
    kept = {*stage.section("distill.snapshots", SNAPSHOTS), schedule.epochs}
    runs, matchings = compression_runs(stage)

    def train(place: Workplace) -> None:
        teacher = place.teacher()
        place.seed_initial()
        student = build(
            **shape.model_dump(),
            classes=teacher.classes,
            input_size=teacher.input_size,
            dropout=teacher.head.dropout,
        )
        matching = matchings[place.run.identity.method]
        trainer = place.trainer(CompressionObjective(student, teacher, matching, logits), schedule)

        def keep(epoch: int) -> None:
            if epoch in kept:
                place.keep(student, epoch=epoch)

        trainer.fit(schedule, start=place.start, after_epoch=keep)
        place.finish(trainer)

    train_all(stage, runs, train, mean_ap)
    return f"{told(runs)} in {stage.out}"


if __name__ == "__main__":
    run("distill", main)
