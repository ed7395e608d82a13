"""Stage attribute: attribution maps and logits of every network of one batch, extracted once."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from attribution_preservation.attribution.grad_cam import grad_cam_at
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
from attribution_preservation.pipeline.run.layout import network_files
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
    """Extract maps of one batch of networks and group of seeds."""
    settings, shown = stage.section("attribute", Attribute), stage.section("input", Input)
    device = set_up(stage.section("runtime", Runtime)).torch
    store = Store(stage.dep(Path("data/dataset")))
    positions = store.part("val")
    pairs = scored_pairs(store, positions, shown.size)
    images = evaluation_images(store, positions, shown.size)
    models = stage.dep(Path("models", stage.axes["group"], stage.axes["batch"]))
    files = list(network_files(models))
    if not files:
        raise UserError(f"{models} holds no network; run the stages that train them first")
    parent = Parent()
    progress = Progress(len(files) * len(images), f"maps of {stage.axes['batch']}")
    with atomic_directory(stage.out) as partial:
        for path in files:
            parent.check()
            network, identity = load_network(path)
            sizes = _sizes(network, path, identity["compression"] == "prune_weights")
            network.to(device, memory_format=torch.channels_last)
            tensors = _extract(network, images, pairs, Normalize(shown.mean, shown.std), settings, device, progress)
            description = {"identity": identity, "sizes": sizes}
            write_tensors(partial / path.relative_to(models), tensors, description)
    progress.close()
    return f"maps of {len(files)} networks for {len(pairs)} (image, class) pairs in {stage.out}"


def _extract(
    network: Network,
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
