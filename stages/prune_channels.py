"""Stage prune_channels: removal of a teacher's filters of small norm, fine-tuned under matching methods."""

from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.training_run import Workplace, train_all
from attribution_preservation.pipeline.schema.compression import RATES
from attribution_preservation.training.compressed import compression_runs, told


def main(stage: Stage) -> str:
    """Prune the teachers of one group of seeds in one way, under the methods of one entry of `matching`."""
    rates = stage.section(f"prune_channels.students.{stage.axes['student']}", RATES)
    schedule = stage.section("prune_channels.optimization", Optimization)
    runs, matchings = compression_runs(stage)

    def train(place: Workplace) -> None:
        student = place.teacher()
        prune_channels(student, rates)
        method = matchings[place.run.identity.method]
        place.fit_once(CompressionObjective(student, place.teacher(), method), schedule)

    train_all(stage, runs, train, mean_ap)
    return f"{told(runs)} in {stage.out}"


if __name__ == "__main__":
    run("prune_channels", main)
