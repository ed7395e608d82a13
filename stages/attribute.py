"""Stage attribute: attribution maps and logits of every network of one batch, extracted once."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attribution_preservation.attribution.methods import Attribution
from attribution_preservation.attribution.pairs import spread
from attribution_preservation.data.inputs import Normalize, Pairs, evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.size import (
    multiply_accumulates,
    nonzero_parameters,
    parameters,
    weight_sparsity,
)
from attribution_preservation.models.files import load_network
from attribution_preservation.models.network import Network
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.jobs import each
from attribution_preservation.pipeline.run.layout import Identity, networks_below
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import write_tensors
from attribution_preservation.pipeline.schema.attribute import Attribute, Compared
from attribution_preservation.pipeline.schema.data import Input
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.training.runtime import set_up

REMEDY = "run the stages that train networks first"


@dataclass(frozen=True)
class _Workload:
    """What every network of an instance is asked.

    Attributes:
        pairs: the scored pairs.
        images: of all evaluation images, uint8 [N, 3, S, S].
        training_images: the first ones of training, normalised, as many as some method needs.
    """

    settings: Attribute
    pairs: Pairs
    images: torch.Tensor
    training_images: torch.Tensor
    normalize: Normalize
    device: torch.device

    def chosen(self, name: str) -> np.ndarray:
        """Positions of the pairs that a method explains: all, or some, evenly spaced."""
        return spread(len(self.pairs), self.settings.methods[name].pairs)


def main(stage: Stage) -> str:
    """Extract maps of one batch of networks and group of seeds."""
    settings, shown = stage.section("attribute", Attribute), stage.section("input", Input)
    device = set_up(stage.section("runtime", Runtime))
    store = Store(stage.dep(Path("data/dataset")))
    positions = store.part("val")
    pairs = scored_pairs(store, positions, shown)
    images = evaluation_images(store, positions, shown)
    normalize = Normalize(shown.mean, shown.std)
    needed = max((getattr(method, "references", 0) for method in settings.methods.values()), default=0)
    training_images = normalize(evaluation_images(store, store.part("train")[:needed], shown).to(device.torch))
    workload = _Workload(settings, pairs, images, training_images, normalize, device.torch)
    models = stage.dep(Path("models", stage.axes["group"], stage.axes["batch"]))
    networks = networks_below(models, REMEDY)
    if not networks:
        raise UserError(f"{models} holds no network; run the stages that train them first")
    compared = _compared(networks, settings.compared)
    progress = Progress(len(networks), f"maps of {stage.axes['batch']}", unit="network")
    with atomic_directory(stage.out) as folder:

        def explain(identity: Identity, path: Path) -> None:
            network, _ = load_network(path)
            sizes = _sizes(network, path, identity.compression == "prune_weights")
            network.to(device.torch, memory_format=torch.channels_last)
            methods = [name for name in settings.methods if identity in compared or name in settings.every]
            tensors = _extract(network, methods, workload)
            description = {"identity": identity.as_dict(), "sizes": sizes, "methods": methods}
            write_tensors(folder / path.relative_to(models), tensors, description)

        pieces = [partial(explain, identity, path) for identity, path in networks.items()]
        each(pieces, device.jobs, done=lambda _: progress.advance(1))
    progress.close()
    return f"maps of {len(networks)} networks for {len(pairs)} (image, class) pairs in {stage.out}"


def _compared(identities: Iterable[Identity], settings: Compared) -> set[Identity]:
    """Teachers, and the last network of every student that is compared."""
    last: dict[Identity, Identity] = {}
    for identity in identities:
        if identity.compression == "teacher" or (
            identity.student in settings.students and identity.method in settings.methods
        ):
            course = replace(identity, iteration=0, epoch=None)
            last[course] = max(last.get(course, identity), identity, key=lambda found: found.step)
    return set(last.values())


def _extract(network: Network, methods: Iterable[str], workload: _Workload) -> dict[str, torch.Tensor]:
    """Logits of all images, and by method name the maps [n, h, w]; `.pairs` and `.absorbed` where they say anything."""
    size, device = workload.settings.batch_size, workload.device

    def shown(images: torch.Tensor) -> torch.Tensor:
        return workload.normalize(images.to(device))

    with torch.no_grad():
        activation = torch.cat([network.last_activation(shown(part)) for part in workload.images.split(size)])
        tensors = {"logits": torch.cat([network.logits_from_activation(part) for part in activation.split(size)]).cpu()}
    for name in methods:
        ask = Attribution(workload.settings.methods[name], network, workload.training_images)
        chosen = workload.chosen(name)
        maps, absorbed = [], []
        for part in np.array_split(chosen, -(-len(chosen) // size)):
            image, label = (torch.from_numpy(of[part]) for of in (workload.pairs.image, workload.pairs.label))
            rows, image_of_pair = torch.unique(image, return_inverse=True)  # each image once, for all of its classes
            found, share = ask.explain(
                network,
                shown(workload.images[rows]),
                label.to(device),
                image_of_pair.to(device),
                activation[rows.to(device)],
            )
            maps.append(found.cpu())
            absorbed += [share.cpu()] if share is not None else []
        tensors[name] = torch.cat(maps)
        if absorbed:
            tensors[f"{name}.absorbed"] = torch.cat(absorbed)
        if len(chosen) < len(workload.pairs):
            tensors[f"{name}.pairs"] = torch.from_numpy(chosen)
    return tensors


def _sizes(network: Network, path: Path, sparse: bool) -> dict[str, Any]:
    """Figures of a network that need no images: by metric name, and the share of single weights that were pruned."""
    return {
        "parameters": parameters(network),
        "nonzero_parameters": nonzero_parameters(network),
        "macs": multiply_accumulates(network, torch.zeros(1, 3, network.input_size, network.input_size)),
        "bytes": path.stat().st_size,
        "sparsity": weight_sparsity(network) if sparse else None,
    }


if __name__ == "__main__":
    run("attribute", main)
