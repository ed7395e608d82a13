"""Stage teacher: one full network per seed."""

from pathlib import Path

import torch

from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.store import Store
from attribution_preservation.models.files import save_network
from attribution_preservation.models.vgg import VGG, build
from attribution_preservation.pipeline.run.files import write_text
from attribution_preservation.pipeline.run.layout import teachers
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.resume import fingerprint, resume_folder
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.data import Input
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.pipeline.schema.teacher import Teacher
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import load_checkpoint, save_checkpoint
from attribution_preservation.training.log import log_csv
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.objective import TaskObjective
from attribution_preservation.training.randomness import derived_seed
from attribution_preservation.training.runtime import set_up


def main(stage: Stage) -> str:
    """Train the teachers of one group of seeds."""
    runtime, shown = stage.section("runtime", Runtime), stage.section("input", Input)
    settings = stage.section("teacher", Teacher)
    device = set_up(runtime)
    store = Store(stage.dep(Path("data/dataset")))
    seeds = stage.parameters(f"seed_groups.{stage.axes['group']}")
    parent = Parent()
    for network in teachers(stage.axes["group"], seeds):
        with resume_folder(fingerprint(stage, network.seed, {}, device.versions)) as folder:
            if not folder.complete:
                schedule, start = settings.optimization, load_checkpoint(folder.state)
                batches = Batches(store, shown.size, schedule, runtime.workers)
                epochs = schedule.epochs - (start.epoch if start else 0)
                progress = Progress(epochs * batches.images, f"teacher, seed {network.seed}")
                trainer = Trainer(
                    TaskObjective(_initial(settings, shown, len(store.classes), network.seed)),
                    batches,
                    Normalize(shown.mean, shown.std),
                    key=(network.seed, "teacher"),
                    device=device.torch.type,
                    precision=runtime.precision,
                    progress=progress,
                    save=lambda checkpoint, path=folder.state: save_checkpoint(checkpoint, path),
                    alive=parent.check,
                )
                trainer.fit(schedule, start=start)
                progress.close()
                save_network(trainer.student, folder.work / "network.safetensors")
                write_text(folder.work / "log.csv", log_csv(trainer.log))
                folder.finish()
            folder.deliver(stage.out / f"seed-{network.seed}")
    return f"{len(seeds)} {settings.architecture} networks (seeds {', '.join(map(str, seeds))}) in {stage.out}"


def _initial(settings: Teacher, shown: Input, classes: int, seed: int) -> VGG:
    torch.manual_seed(derived_seed(seed, "teacher", "initial"))
    network = build(
        settings.architecture,
        settings.width_divisor,
        classes=classes,
        input_size=shown.size,
        dropout=settings.dropout,
    )
    if settings.init == "imagenet":
        # Imported here: torchvision's models take seconds to import and only this choice needs them.
        from attribution_preservation.models.pretrained import imagenet_url, load_imagenet_trunk

        load_imagenet_trunk(network, imagenet_url(settings.architecture))
    return network


if __name__ == "__main__":
    run("teacher", main)
