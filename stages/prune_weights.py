"""Stage prune_weights: iterative magnitude pruning of a teacher, fine-tuned under one matching method."""

from pathlib import Path

from attribution_preservation.compression.weight_pruning import WeightMasks, pruned_share
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.store import Store
from attribution_preservation.matching.objective import MatchedObjective
from attribution_preservation.models.files import load_network, save_network
from attribution_preservation.pipeline.run.files import write_text
from attribution_preservation.pipeline.run.layout import Network
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.resume import ResumeFolder, fingerprint, resume_folder
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.data import Input
from attribution_preservation.pipeline.schema.matching import Matching
from attribution_preservation.pipeline.schema.optimization import Optimization
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import load_checkpoint, save_checkpoint
from attribution_preservation.training.log import log_csv
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.objective import TaskObjective
from attribution_preservation.training.runtime import Device, set_up


def main(stage: Stage) -> str:
    """Prune the teachers of one group of seeds under one method."""
    runtime = stage.section("runtime", Runtime)
    device = set_up(runtime)
    seeds = stage.parameters(f"seed_groups.{stage.axes['group']}")
    for seed in seeds:
        teacher = stage.dep(Network("teacher", stage.axes["group"], seed).below(Path("models")))
        # The folder of teachers is a dependency; this run reads one of them.
        inputs = {teacher.parents[1]: [teacher]}
        with resume_folder(fingerprint(stage, seed, inputs, device.versions)) as folder:
            if not folder.complete:
                _prune(stage, seed, teacher, folder, runtime, device)
            folder.deliver(stage.out / f"seed-{seed}")
    iterations = stage.parameters("prune_weights.iterations")
    return f"{iterations} iterations under {stage.axes['method']}, seeds {', '.join(map(str, seeds))}, in {stage.out}"


def _prune(stage: Stage, seed: int, teacher: Path, folder: ResumeFolder, runtime: Runtime, device: Device) -> None:
    # Section by section, without `methods`: another method beside this one changes nothing here.
    iterations, rate = stage.parameters("prune_weights.iterations"), stage.parameters("prune_weights.rate")
    schedule = stage.section("prune_weights.optimization", Optimization)
    shown = stage.section("input", Input)
    method = stage.axes["method"]
    matching = stage.section(f"matching.{method}", Matching)
    student = load_network(teacher)
    if matching.maps == "none":
        objective = TaskObjective(student)
    else:
        objective = MatchedObjective(student, load_network(teacher), **matching.model_dump())
    start = load_checkpoint(folder.state)
    batches = Batches(Store(stage.dep(Path("data/dataset"))), shown.size, schedule, runtime.workers)
    epochs = iterations * schedule.epochs - ((start.phase - 1) * schedule.epochs + start.epoch if start else 0)
    progress = Progress(epochs * batches.images, f"prune_weights, {method}, seed {seed}")
    trainer = Trainer(
        objective,
        batches,
        Normalize(shown.mean, shown.std),
        key=(seed, "prune_weights"),  # without the method: all methods see the same batches
        device=device.torch.type,
        precision=runtime.precision,
        progress=progress,
        save=lambda checkpoint: save_checkpoint(checkpoint, folder.state),
        alive=Parent().check,
    )
    masks = WeightMasks(student.convolutions())
    for iteration in range(start.phase if start else 1, iterations + 1):
        if start is not None:
            masks.load_state(start.tensors["masks"])
        else:
            masks.grow(pruned_share(iteration, rate))
        trainer.fit(
            schedule,
            phase=iteration,
            start=start,
            note=f"iteration {iteration}/{iterations}, ",
            after_step=masks.apply,
            masks=masks.state,
        )
        save_network(student, folder.work / f"iteration-{iteration:02d}.safetensors")
        start = None
    progress.close()
    write_text(folder.work / "log.csv", log_csv(trainer.log))
    folder.finish()


if __name__ == "__main__":
    run("prune_weights", main)
