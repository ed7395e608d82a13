"""Stage teacher: one full network per seed."""

from pathlib import Path

from attribution_preservation.models.build import build
from attribution_preservation.models.vgg import VGG
from attribution_preservation.pipeline.run.layout import Identity, seed_folder
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.teacher import Teacher
from attribution_preservation.training.objective import TaskObjective
from attribution_preservation.training.run import Run, Workplace, train_all


def main(stage: Stage) -> str:
    """Train the teachers of one group of seeds."""
    settings = stage.section("teacher", Teacher)
    seeds = stage.parameters(f"seed_groups.{stage.axes['group']}")
    runs = [Run(Identity("teacher", seed), Path(seed_folder(seed))) for seed in seeds]

    def train(place: Workplace) -> None:
        place.fit_once(TaskObjective(_initial(settings, place)), settings.optimization)

    train_all(stage, runs, train)
    return f"{len(seeds)} {settings.architecture} networks (seeds {', '.join(map(str, seeds))}) in {stage.out}"


def _initial(settings: Teacher, place: Workplace) -> VGG:
    place.seed_initial()
    network = build(
        settings.architecture,
        settings.width_divisor,
        classes=len(place.store.classes),
        input_size=place.shown.size,
        dropout=settings.dropout,
    )
    if settings.init == "imagenet":
        # Imported here: torchvision's models take seconds to import and only this choice needs them.
        from attribution_preservation.models.pretrained import imagenet_url, load_imagenet_trunk

        load_imagenet_trunk(network, imagenet_url(settings.architecture))
    return network


if __name__ == "__main__":
    run("teacher", main)
