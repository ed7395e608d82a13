"""Stage teacher: a full network, once per seed."""

from pathlib import Path

from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.models.teacher_settings import SCHEDULE, FullNetwork
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.training_run import Run, TrainingRun, train_all
from attribution_preservation.storage.identity import Identity, seed_folder


def main(stage: Stage) -> str:
    """Train one full network with each seed of a group, or take a pretrained one as it is."""
    name = stage.axes["network"]
    settings = stage.section(f"teacher.networks.{name}", FullNetwork)
    schedule = stage.section("teacher.optimization", SCHEDULE)
    seeds = stage.parameters(f"seed_groups.{stage.axes['group']}")
    runs = [Run(Identity("teacher", seed, teacher=name), Path(seed_folder(seed))) for seed in seeds]

    def train(training: TrainingRun) -> None:
        network = _initial(settings, training)
        if schedule is None:
            training.keep_as_it_is(network)
        else:
            training.fit_once(TaskObjective(network), schedule)

    train_all(stage, runs, train, mean_ap)
    return f"{len(seeds)} {settings.architecture} networks (seeds {', '.join(map(str, seeds))}) in {stage.only_out}"


def _initial(settings: FullNetwork, training: TrainingRun) -> Network:
    training.seed_initial()
    network = build(
        settings.architecture,
        settings.width_divisor,
        classes=len(training.store.classes),
        input_size=training.input.size,
        dropout=settings.dropout,
        hidden=tuple(settings.hidden),
    )
    if settings.weights is not None:
        # Imported here: torchvision's models take seconds to import and only this choice needs them.
        from attribution_preservation.models.pretrained import imagenet_url, load_imagenet

        url = imagenet_url(settings.architecture)
        load_imagenet(network, url, settings.weights, head=training.store.exclusive)
    return network


if __name__ == "__main__":
    run("teacher", main)
