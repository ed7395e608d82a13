"""Stage prune_weights: magnitude pruning of a teacher in one or many steps, fine-tuned under matching methods."""

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.compression.weight_pruning import WeightMasks, pruned_share
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.optimization import Descent
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.training_run import Workplace, train_all
from attribution_preservation.pipeline.schema.compression import PruningSteps
from attribution_preservation.training.compressed import compression_runs, told


def main(stage: Stage) -> str:
    """Prune the teachers of one group of seeds in one way, under the methods of one entry of `matching`."""
    steps = stage.section(f"prune_weights.students.{stage.axes['student']}", PruningSteps)
    schedule = stage.section("prune_weights.optimization", Descent).over(steps.epochs)
    kept = {*steps.snapshots, steps.epochs}
    runs, matchings = compression_runs(stage)

    def train(place: Workplace) -> None:
        student, start = place.teacher(), place.start
        objective = CompressionObjective(student, place.teacher(), matchings[place.run.identity.method])
        trainer = place.trainer(objective, schedule, steps.iterations)
        masks = WeightMasks(student.convolutions())
        for iteration in range(start.phase if start else 1, steps.iterations + 1):

            def keep(epoch: int, iteration: int = iteration) -> None:
                if epoch in kept:
                    place.keep(student, iteration, epoch)

            if start is not None:
                masks.load_state(start.tensors["masks"])
            else:
                masks.grow(pruned_share(iteration, steps.rate))
                keep(0)
            trainer.fit(
                schedule,
                phase=iteration,
                start=start,
                note=f"iteration {iteration}/{steps.iterations}, ",
                after_step=masks.apply,
                after_epoch=keep,
                masks=masks.state,
            )
            start = None
        place.finish(trainer)

    train_all(stage, runs, train, mean_ap)
    return f"{steps.iterations} iterations, {told(runs)} in {stage.out}"


if __name__ == "__main__":
    run("prune_weights", main)
