"""Stage attribute: attribution maps and logits of every network of one batch, extracted once."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attribution_preservation.attribution.extraction import Attribute, Compared
from attribution_preservation.attribution.method import Attribution, import_libraries
from attribution_preservation.attribution.pair_images import spread
from attribution_preservation.data.evaluation import EvaluationSet
from attribution_preservation.data.framing import Input
from attribution_preservation.data.inputs import Normalize, Pairs, evaluation_images
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.size import (
    multiply_accumulates,
    nonzero_parameters,
    parameters,
    sparsity,
)
from attribution_preservation.models.network import Network
from attribution_preservation.models.network_files import load_network
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.jobs import each
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.files import atomic_directory
from attribution_preservation.storage.identity import Identity, masks_beside, networks_below
from attribution_preservation.storage.tensors import read_tensors, write_tensors
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime

REMEDY = "run the stages that train networks first"


@dataclass(frozen=True)
class _Workload:
    """The images and pairs that every network of an instance explains.

    Attributes:
        pairs: the scored pairs.
        explained: rows of the pairs' images among the evaluation images, ascending, int64 [M].
        images: all evaluation images, uint8 [N, 3, S, S].
        training_images: the first training images, normalised, as many as some method needs.
    """

    settings: Attribute
    pairs: Pairs
    explained: np.ndarray
    images: torch.Tensor
    training_images: torch.Tensor
    normalize: Normalize
    device: torch.device

    def chosen(self, name: str) -> np.ndarray:
        """Positions of the pairs that a method explains: all, or some, evenly spaced."""
        return spread(len(self.pairs), self.settings.methods[name].pairs)

    def normalized(self, rows: torch.Tensor) -> torch.Tensor:
        """Some of the images as networks see them, [B, 3, S, S]."""
        return self.normalize(self.images[rows].to(self.device))

    def seen(self, network: Network) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of all images [N, C], and of those that are explained the last activation, [M, K, h, w]."""
        logits, activation, size = [], [], self.settings.batch_size
        rows = torch.arange(len(self.images))
        kept = torch.isin(rows, torch.from_numpy(self.explained))
        with torch.no_grad():
            for part, keep in zip(rows.split(size), kept.split(size), strict=True):
                features = network.last_activation(self.normalized(part))
                logits.append(network.logits_from_activation(features).cpu())
                activation.append(features[keep.to(features.device)])
        return torch.cat(logits), torch.cat(activation)


def main(stage: Stage) -> str:
    """Extract maps of one batch of networks and group of seeds."""
    settings, framing = stage.section("attribute", Attribute), stage.section("input", Input)
    runtime = stage.section("runtime", Runtime)
    device = set_up(runtime)
    import_libraries(settings.methods.values())
    store = Store(stage.dep(Path("data/dataset")))
    evaluation = EvaluationSet(store, framing)
    pairs, images = evaluation.pairs, evaluation.images(runtime.workers)
    normalize, explained = Normalize(framing.mean, framing.std), np.unique(pairs.image)
    needed = max((getattr(method, "references", 0) for method in settings.methods.values()), default=0)
    training_images = normalize(evaluation_images(store, store.part("train")[:needed], framing).to(device.torch))
    workload = _Workload(settings, pairs, explained, images, training_images, normalize, device.torch)
    models = stage.dep(Path("models", stage.axes["group"], stage.axes["batch"]))
    networks = networks_below(models, REMEDY)
    if not networks:
        raise UserError(f"{models} holds no network; run the stages that train them first")
    compared = _compared(networks, settings.compared)
    wanted = {identity.full_network for identity in networks if identity.compression != "teacher"}
    of_teachers = _of_teachers(stage, workload, wanted) if pairs.label is None else {}
    progress = Progress(len(networks), f"maps of {stage.axes['batch']}", unit="network")
    with atomic_directory(stage.only_out) as folder:

        def explain(identity: Identity, path: Path) -> None:
            network, _ = load_network(path)
            sizes = _sizes(network, path)
            network.to(device.torch, memory_format=torch.channels_last)
            methods = [name for name in settings.methods if identity in compared or name in settings.every]
            tensors = _extract(network, methods, workload, of_teachers.get(identity.full_network))
            description = {"identity": identity.as_dict(), "sizes": sizes, "methods": methods}
            write_tensors(folder / path.relative_to(models), tensors, description)

        pieces = [partial(explain, identity, path) for identity, path in networks.items()]
        each(pieces, device.jobs, done=lambda _: progress.advance(1))
    progress.close()
    return f"maps of {len(networks)} networks for {len(pairs)} (image, class) pairs in {stage.only_out}"


def _compared(identities: Iterable[Identity], settings: Compared) -> set[Identity]:
    """Teachers, and the last network of every student that is compared."""
    last: dict[Identity, Identity] = {}
    for identity in identities:
        if identity.compression == "teacher" or (
            identity.student in settings.students and identity.method in settings.methods
        ):
            course = replace(identity, iteration=0, epoch=None)
            last[course] = max(last.get(course, identity), identity, key=lambda other: other.step)
    return set(last.values())


def _of_teachers(stage: Stage, workload: _Workload, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], np.ndarray]:
    """Logits of some teachers, by name and seed, [N, C]: in the batches of a teacher's own pass, to the last bit."""
    folder, logits = stage.dep(Path("models", stage.axes["group"], stage.parameters("folders.teacher"))), {}
    for identity, path in networks_below(folder, REMEDY).items():
        if identity.full_network in wanted:
            network = load_network(path)[0].to(workload.device, memory_format=torch.channels_last)
            logits[identity.full_network] = workload.seen(network)[0].numpy()
    for name, seed in wanted - logits.keys():
        raise UserError(f"{folder} holds no teacher {name} of seed {seed}; {REMEDY}")
    return logits


def _extract(
    network: Network, methods: Iterable[str], workload: _Workload, of_teacher: np.ndarray | None
) -> dict[str, torch.Tensor]:
    """Logits of all images, and by method name the maps [n, h, w]; `.pairs` and `.absorbed` where they say anything.

    `asked` is the class of each pair [P], where networks decide it; a teacher, which has none, decides for itself.
    """
    size, device = workload.settings.batch_size, workload.device
    logits, activation = workload.seen(network)
    tensors, own = {"logits": logits}, logits.numpy()
    classes = workload.pairs.classes(own if of_teacher is None else of_teacher, own)
    if workload.pairs.label is None:
        tensors["asked"] = torch.from_numpy(classes)
    questions = np.stack([workload.pairs.image, classes])
    for name in methods:
        ask = Attribution(workload.settings.methods[name], network, workload.training_images)
        chosen = workload.chosen(name)
        # A network's own top class is mostly its teacher's too, and explained once.
        once, place = np.unique(questions[:, chosen], axis=1, return_inverse=True)
        maps, absorbed = [], []
        for part in np.array_split(once, -(-once.shape[1] // size), axis=1):
            image, label = torch.from_numpy(part)
            rows, image_of_pair = torch.unique(image, return_inverse=True)  # each image once, for all of its classes
            among = torch.from_numpy(np.searchsorted(workload.explained, rows.numpy()))
            part, share = ask.explain(
                network,
                workload.normalized(rows),
                label.to(device),
                image_of_pair.to(device),
                activation[among.to(device)],
            )
            maps.append(part.cpu())
            absorbed += [share.cpu()] if share is not None else []
        tensors[name] = torch.cat(maps)[place]
        if absorbed:
            tensors[f"{name}.absorbed"] = torch.cat(absorbed)[place]
        if len(chosen) < len(workload.pairs):
            tensors[f"{name}.pairs"] = torch.from_numpy(chosen)
    return tensors


def _sizes(network: Network, path: Path) -> dict[str, Any]:
    """Figures of a network that need no images: by metric name, and the share of single weights that were pruned."""
    masks = masks_beside(path)
    return {
        "parameters": parameters(network),
        "nonzero_parameters": nonzero_parameters(network),
        "macs": multiply_accumulates(network, torch.zeros(1, 3, network.input_size, network.input_size)),
        "bytes": path.stat().st_size,
        "sparsity": sparsity(read_tensors(masks, REMEDY)[0]) if masks.exists() else None,
    }


if __name__ == "__main__":
    run("attribute", main)
