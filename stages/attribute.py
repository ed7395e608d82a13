"""Stage attribute: attribution maps and logits of every network of one compression, extracted once."""

import json
from pathlib import Path

import numpy as np
import torch

from attribution_preservation.attribution.grad_cam import grad_cam_at
from attribution_preservation.data.inputs import Normalize, Pairs, evaluation_images, scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.metrics.size import nonzero_parameters, parameters, weight_sparsity
from attribution_preservation.models.files import load_network
from attribution_preservation.models.vgg import VGG
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.layout import Network, pruned, teachers
from attribution_preservation.pipeline.run.parent import Parent
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.run.tensors import write_tensors
from attribution_preservation.pipeline.schema.attribute import Attribute
from attribution_preservation.pipeline.schema.data import Input
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.training.runtime import set_up

METHODS = {"grad_cam": grad_cam_at}


def main(stage: Stage) -> str:
    """Extract maps of one compression and group of seeds."""
    settings, shown = stage.section("attribute", Attribute), stage.section("input", Input)
    device = set_up(stage.section("runtime", Runtime)).torch
    store = Store(stage.dep(Path("data/dataset")))
    positions = store.part("val")
    pairs = scored_pairs(store, positions, shown.size)
    images = evaluation_images(store, positions, shown.size)
    networks = networks_of(stage)
    parent = Parent()
    progress = Progress(len(networks) * len(images), f"maps of {stage.axes['compression']}")
    with atomic_directory(stage.out) as partial:
        for identity in networks:
            parent.check()
            network = load_network(stage.dep(identity.below(Path("models"))))
            network.to(device, memory_format=torch.channels_last)
            tensors = _extract(network, images, pairs, Normalize(shown.mean, shown.std), settings, device, progress)
            target = partial / identity.below(Path("maps")).relative_to(stage.out)
            write_tensors(target, tensors, {"network": json.dumps(_sizes(network, identity))})
    progress.close()
    return f"maps of {len(networks)} networks for {len(pairs)} (image, class) pairs in {stage.out}"


def networks_of(stage: Stage) -> list[Network]:
    """The networks of the stage's compression and group, as the parameters name them."""
    group = stage.axes["group"]
    seeds = stage.parameters(f"seed_groups.{group}")
    if stage.axes["compression"] == "teacher":
        return teachers(group, seeds)
    return pruned(group, seeds, stage.parameters("prune_weights.methods"), stage.parameters("prune_weights.iterations"))


def _extract(
    network: VGG,
    images: torch.Tensor,
    pairs: Pairs,
    normalize: Normalize,
    settings: Attribute,
    device: torch.device,
    progress: Progress,
) -> dict[str, torch.Tensor]:
    logits = []
    maps: dict[str, list[torch.Tensor]] = {method: [] for method in settings.methods}
    for start in range(0, len(images), settings.batch_size):
        batch = normalize(images[start : start + settings.batch_size].to(device))
        with torch.no_grad():
            activation = network.last_activation(batch)
            logits.append(network.logits_from_activation(activation).cpu())
        chosen = np.flatnonzero((pairs.image >= start) & (pairs.image < start + len(batch)))
        if len(chosen):
            classes = torch.from_numpy(pairs.label[chosen]).to(device)
            row = torch.from_numpy(pairs.image[chosen] - start).to(device)
            for method, found in maps.items():
                found.append(METHODS[method](network, activation[row], classes).cpu())
        progress.advance(len(batch))
    return {"logits": torch.cat(logits)} | {method: torch.cat(found) for method, found in maps.items()}


def _sizes(network: VGG, identity: Network) -> dict[str, float | int | None]:
    return {
        "parameters": parameters(network),
        "nonzero_parameters": nonzero_parameters(network),
        "sparsity": weight_sparsity(network) if identity.compression == "prune_weights" else None,
    }


if __name__ == "__main__":
    run("attribute", main)
