"""Stage roar: pixels are removed in the order of a network's maps, and a classifier is retrained on what is left.

Were the pixels that a map names those that tell the classes apart, the classifier would lose more by their removal
than by that of random ones. Source: Hooker et al. 2019; Park et al. 2020, supplement E and Figure 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize, evaluation_images
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.localization import upsample
from attribution_preservation.metrics.prediction import f1, mean_ap
from attribution_preservation.metrics.removal import RemovedPixels, map_of_image, of_other_images, ranks
from attribution_preservation.metrics.roar_settings import Roar
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.network_files import load_network
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.training_run import Run, TrainingRun, train_all
from attribution_preservation.storage.files import atomic_file
from attribution_preservation.storage.identity import Identity, networks_below, seed_folder
from attribution_preservation.storage.tensors import write_tensors

# Orders that know nothing of the image: of the teacher's map of another one, and by chance.
OTHERS, CHANCE = "other_images_grad_cam", "random"
REMEDY = "run the stages that train networks first"


@dataclass(frozen=True)
class Source:
    """The source of an order of pixels.

    Attributes:
        name: name of its folder: `teacher`, `other_images`, `random`, or a student's and a method's.
        identity: identity of the network; for a control, of the teacher that it is compared with.
        file: the network; None for chance.
        attribution: name of the source in results.csv.
    """

    name: str
    identity: Identity
    file: Path | None
    attribution: str


@dataclass(frozen=True)
class Question:
    """The question that one classifier answers.

    Attributes:
        source: the source of the order of pixels.
        percent: share of the pixels that are removed.
        retraining: number of the repetition, from 0.
    """

    source: Source
    percent: int
    retraining: int

    @property
    def description(self) -> dict[str, Any]:
        """As a file holds it."""
        source = {"identity": self.source.identity.as_dict(), "attribution": self.source.attribution}
        return {**source, "percent": self.percent, "retraining": self.retraining}


def main(stage: Stage) -> str:
    """Retrain a classifier for every source of an order, share of pixels and repetition."""
    settings, group = stage.section("roar", Roar), stage.axes["group"]
    folders = {name: stage.parameters(f"folders.{name}") for name in ("teacher", "distill")}
    folders["teacher"] += f"/{stage.parameters('distill.teacher')}"
    models = stage.dep(Path("models", group))
    of_run: dict[Path, Question] = {}
    runs: list[Run] = []
    for source in _sources(models, folders, settings):
        # An image that has lost nothing is the same for everyone.
        for percent in settings.percents if source.file else [0, *settings.percents]:
            for number in range(settings.retrainings):
                seed = source.identity.seed
                below = Path(source.name, seed_folder(seed), f"removed-{percent}", f"retraining-{number}")
                question = Question(source, percent, number)
                choices = {
                    **question.description,
                    "classifier": settings.classifier.model_dump(),
                    "optimization": settings.optimization.model_dump(),
                }
                # The same first weights and batches for every source and share.
                identity = Identity("roar", seed + 1000 * number, method=source.name)
                read = {models: [source.file] if source.file else []}
                runs.append(Run(identity, below, settings={"roar": choices}, inputs=read))
                of_run[below] = question

    def ordered_by(run: Run) -> tuple[Path | None, int]:
        source = of_run[run.below].source
        return source.file, source.identity.seed

    orders: dict[tuple[Path | None, int], dict[int, np.ndarray]] = {}

    def train(training: TrainingRun) -> None:
        question = of_run[training.run.below]
        source = question.source
        network = ordered_by(training.run)
        if network not in orders:  # of the latest one: several runs in a row remove different shares in one order
            orders.clear()
            orders[network] = _order(source, training, settings.optimization.batch_size)
        order = orders[network]
        if source.attribution == OTHERS:
            order = of_other_images(order, [training.store.part("train"), training.store.part("val")])
        colour = (255 * np.array(training.input.mean)).round().astype(np.uint8)
        size = settings.classifier.size or training.input.size
        images = RemovedPixels(training.store, order, question.percent / 100, colour, training.input, size)
        training.seed_initial()
        shape = settings.classifier.model_dump(exclude={"size"})
        classifier = build(**shape, classes=len(training.store.classes), input_size=size)
        trainer = training.trainer(TaskObjective(classifier), settings.optimization, images=images, size=size)
        trainer.fit(settings.optimization, start=training.start)
        if training.writes:
            _score(question, classifier, images, training, settings.optimization.batch_size)
        training.finish(trainer)

    train_all(stage, runs, train, mean_ap, together=ordered_by)
    return f"{len(runs)} classifiers retrained, scores in {stage.only_out}"


def _sources(models: Path, folders: dict[str, str], settings: Roar) -> Iterator[Source]:
    """With every seed: teachers, their maps of other images, chance; of every student the last network of each method.

    No student, no source: there is nothing to compare with.
    """
    if not settings.students:
        return
    teachers = _last(models / folders["teacher"])
    if not teachers:
        raise UserError(f"{models / folders['teacher']} holds no teacher; {REMEDY}")
    for identity, file in teachers.items():
        yield Source("teacher", identity, file, "grad_cam")
        yield Source("other_images", identity, file, OTHERS)
        yield Source("random", identity, None, CHANCE)
    for student in settings.students:
        networks = _last(models / folders["distill"] / student)
        for method in settings.methods:
            of_method = {identity: file for identity, file in networks.items() if identity.method == method}
            if not of_method:
                raise UserError(f"{models} holds no network of {student} with the method {method}; {REMEDY}")
            for identity, file in of_method.items():
                yield Source(f"{student}/{method}", identity, file, "grad_cam")


def _last(folder: Path) -> dict[Identity, Path]:
    """The last network of every run, by method and seed."""
    networks = networks_below(folder, REMEDY)
    last: dict[tuple[str, int], Identity] = {}
    for identity in sorted(networks, key=lambda identity: identity.step):
        last[identity.method, identity.seed] = identity
    return {identity: networks[identity] for _, identity in sorted(last.items())}


def _order(source: Source, training: TrainingRun, batch_size: int) -> dict[int, np.ndarray]:
    """The place of every pixel of every image, by position; the maps explain the classes that the image has."""
    store, size, device = training.store, training.input.size, training.device.torch
    normalize = Normalize(training.input.mean, training.input.std)
    network = load_network(source.file)[0].to(device, memory_format=torch.channels_last) if source.file else None
    positions = [*store.part("train"), *store.part("val")]
    order = {}
    for start in range(0, len(positions), batch_size):
        part = positions[start : start + batch_size]
        values = np.zeros((len(part), size, size), dtype=np.float32)  # without a network all pixels are alike
        if network is not None:
            rows, classes = (torch.from_numpy(of) for of in np.nonzero(store.labels(part)))
            images = normalize(evaluation_images(store, part, training.input).to(device))
            maps = grad_cam(network, images, classes.to(device), rows.to(device)).cpu().numpy()
            for row in range(len(part)):
                if len(of_image := maps[rows.numpy() == row]):
                    values[row] = map_of_image(upsample(of_image, size))
        for row, position in enumerate(part):
            places = ranks(values[row], [source.identity.seed, position])
            order[position] = places.astype(np.min_scalar_type(size * size))
    return order


def _score(
    question: Question, classifier: Network, images: RemovedPixels, training: TrainingRun, batch_size: int
) -> None:
    """Write what a classifier makes of the evaluation images: its logits, and their scores."""
    source, positions = question.source, images.part("val")
    pictures = evaluation_images(images, positions, Framing(size=classifier.input_size))
    logits = _logits(classifier, pictures, training, batch_size)
    write_tensors(
        training.folder.work / "logits.safetensors", {"logits": torch.from_numpy(logits)}, question.description
    )
    rows = [
        {
            **source.identity.level,
            "method": source.identity.method or None,
            "seed": source.identity.seed,
            "attribution": source.attribution,
            "metric": f"roar_{name}",
            "at": question.percent,
            "value": score(logits, images.labels(positions)),
            "n": len(positions),
        }
        for name, score in (("f1", f1), ("mean_ap", mean_ap))
    ]
    with atomic_file(training.folder.work / "results.csv") as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, lineterminator="\n")


def _logits(classifier: Network, images: torch.Tensor, training: TrainingRun, batch_size: int) -> np.ndarray:
    normalize, device = Normalize(training.input.mean, training.input.std), training.device.torch
    classifier.eval()
    with torch.no_grad():
        logits = [classifier(normalize(part.to(device))).cpu() for part in images.split(batch_size)]
    return torch.cat(logits).numpy()


if __name__ == "__main__":
    run("roar", main)
