"""Stage roar: pixels are removed in the order of a network's maps, and a classifier is retrained on what is left.

Were the pixels that a map names those that tell the classes apart, the classifier would lose more by their removal
than by that of random ones. Source: Hooker et al. 2019; Park et al. 2020, supplement E and Figure 3.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.data.inputs import Normalize, evaluation_images
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.localization import upsample
from attribution_preservation.metrics.prediction import f1
from attribution_preservation.metrics.removal import RemovedPixels, map_of_image, ranks
from attribution_preservation.models.files import load_network
from attribution_preservation.models.network import Network
from attribution_preservation.models.vgg import build
from attribution_preservation.pipeline.run.files import atomic_file
from attribution_preservation.pipeline.run.layout import Identity, network_files, seed_folder
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import read_description
from attribution_preservation.pipeline.schema.roar import Roar
from attribution_preservation.training.objective import TaskObjective
from attribution_preservation.training.run import Run, Workplace, train_all

REMEDY = "run the stages that train networks first"


@dataclass(frozen=True)
class Source:
    """What orders the pixels: the maps of a network, or chance.

    Attributes:
        identity: of the network; of the teacher that chance is compared with.
        file: the network; None for chance.
    """

    identity: Identity
    file: Path | None

    @property
    def name(self) -> str:
        """Of its folder."""
        return "random" if self.file is None else self.identity.method or self.identity.compression


def main(stage: Stage) -> str:
    """Retrain a classifier for every network, share of pixels and repetition."""
    settings, group = stage.section("roar", Roar), stage.axes["group"]
    teachers = stage.dep(Path("models", group, stage.parameters("folders.teacher")))
    students = stage.dep(Path("models", group, stage.parameters("folders.distill"), stage.axes["student"]))
    sources = list(_sources(teachers, students, settings.methods))
    of_run: dict[Path, tuple[Source, int]] = {}
    runs: list[Run] = []
    for source in sources:
        # An image that has lost nothing is the same for everyone.
        for percent in settings.percents if source.file else [0, *settings.percents]:
            for number in range(settings.retrainings):
                seed = source.identity.seed
                below = Path(source.name, seed_folder(seed), f"removed-{percent}", f"retraining-{number}")
                asked = {
                    "source": asdict(source.identity) if source.file else None,
                    "percent": percent,
                    "classifier": settings.classifier.model_dump(),
                    "optimization": settings.optimization.model_dump(),
                }
                read = {
                    folder: [source.file] if source.file and folder in source.file.parents else []
                    for folder in (teachers, students)
                }
                # The same first weights and batches for every source and share.
                identity = Identity("roar", seed + 1000 * number, stage.axes["student"], source.name)
                runs.append(Run(identity, below, settings={"roar": asked}, inputs=read))
                of_run[below] = source, percent

    orders: dict[Source, dict[int, np.ndarray]] = {}

    def train(place: Workplace) -> None:
        source, percent = of_run[place.run.below]
        if source not in orders:  # of the latest one: several runs in a row remove different shares in one order
            orders.clear()
            orders[source] = _order(source, place, settings.optimization.batch_size)
        colour = (255 * np.array(place.shown.mean)).round().astype(np.uint8)
        size = settings.classifier.size or place.shown.size
        images = RemovedPixels(place.store, orders[source], percent / 100, colour, size)
        place.seed_initial()
        shape = settings.classifier.model_dump(exclude={"size"})
        classifier = build(**shape, classes=len(place.store.classes), input_size=size)
        trainer = place.trainer(TaskObjective(classifier), settings.optimization, images=images, size=size)
        trainer.fit(settings.optimization, start=place.start)
        positions = images.part("val")
        shown = evaluation_images(images, positions, size)
        score = f1(_logits(classifier, shown, place, settings.optimization.batch_size), images.labels(positions))
        row = {
            **source.identity.level,
            "method": source.identity.method or None,
            "seed": source.identity.seed,
            "attribution": "grad_cam" if source.file else "random",
            "metric": f"roar_f1_{percent}",
            "value": score,
            "n": len(positions),
        }
        with atomic_file(place.folder.work / "results.csv") as partial:
            pd.DataFrame([row]).to_csv(partial, index=False, lineterminator="\n")
        place.finish(trainer)

    train_all(stage, runs, train)
    return f"{len(runs)} classifiers retrained, scores in {stage.out}"


def _sources(teachers: Path, students: Path, methods: list[str]) -> Iterator[Source]:
    """Teachers, chance, and the last network of every method, with every seed."""
    found = {
        Identity(**read_description(path, REMEDY)["identity"]): path
        for folder in (teachers, students)
        for path in network_files(folder)
    }
    last: dict[tuple[str, int], Identity] = {}
    for identity in sorted(found, key=lambda identity: identity.step):
        last[identity.method, identity.seed] = identity
    for method in ("", *methods):
        of_method = [identity for (name, _), identity in sorted(last.items()) if name == method]
        if not of_method:
            raise UserError(f"{students} holds no network of the method {method}; {REMEDY}")
        yield from (Source(identity, found[identity]) for identity in of_method)
        if not method:
            yield from (Source(identity, None) for identity in of_method)


def _order(source: Source, place: Workplace, batch_size: int) -> dict[int, np.ndarray]:
    """The place of every pixel of every image, by position; the maps explain the classes that the image has."""
    store, size, device = place.store, place.shown.size, place.device.torch
    normalize = Normalize(place.shown.mean, place.shown.std)
    network = load_network(source.file)[0].to(device, memory_format=torch.channels_last) if source.file else None
    positions = store.part("train") + store.part("val")
    found = {}
    for start in range(0, len(positions), batch_size):
        place.alive()
        part = positions[start : start + batch_size]
        values = np.zeros((len(part), size, size), dtype=np.float32)  # without a network all pixels are alike
        if network is not None:
            rows, classes = (torch.from_numpy(of) for of in np.nonzero(store.labels(part)))
            images = normalize(evaluation_images(store, part, size).to(device))
            maps = grad_cam(network, images, classes.to(device), rows.to(device)).cpu().numpy()
            for row in range(len(part)):
                if len(of_image := maps[rows.numpy() == row]):
                    values[row] = map_of_image(upsample(of_image, size))
        for row, position in enumerate(part):
            places = ranks(values[row], [source.identity.seed, position])
            found[position] = places.astype(np.min_scalar_type(size * size))
    return found


def _logits(classifier: Network, images: torch.Tensor, place: Workplace, batch_size: int) -> np.ndarray:
    normalize, device = Normalize(place.shown.mean, place.shown.std), place.device.torch
    classifier.eval()
    with torch.no_grad():
        found = [classifier(normalize(part.to(device))).cpu() for part in images.split(batch_size)]
    return torch.cat(found).numpy()


if __name__ == "__main__":
    run("roar", main)
