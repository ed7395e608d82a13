"""Networks on disk: safetensors with the layers' widths beside the weights, so that a file loads by itself."""

import json
from pathlib import Path

from attribution_preservation.errors import UserError
from attribution_preservation.models.vgg import VGG
from attribution_preservation.pipeline.run.tensors import read_tensors, write_tensors


def save_network(network: VGG, path: Path) -> None:
    """Write weights, batch-normalisation statistics and structure; the same network gives the same bytes."""
    structure = {
        "layers": network.layers,
        "classes": network.classes,
        "input_size": network.input_size,
        "dropout": network.head[1].p,
    }
    write_tensors(path, network.state_dict(), {"structure": json.dumps(structure)})


def load_network(path: Path) -> VGG:
    """Read a network, in eval mode, on the CPU.

    Raises:
        UserError: the file is missing or is not a network that this project wrote.
    """
    tensors, texts = read_tensors(path, "run the stage that trains it first")
    try:
        structure = json.loads(texts["structure"])
        network = VGG(
            tuple(structure["layers"]),
            classes=structure["classes"],
            input_size=structure["input_size"],
            dropout=structure["dropout"],
        )
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is not a network file of this project: {error}") from None
    return network.eval()
