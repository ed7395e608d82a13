"""Files of networks: safetensors with the weights, the network's structure and its identity.

A file can be loaded without the code that pruned the network, and says which network it holds.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import Architecture
from attribution_preservation.models.network import Network
from attribution_preservation.models.resnet_shape import ResNetShape
from attribution_preservation.models.vgg_shape import VGGShape
from attribution_preservation.storage.tensors import read_tensors, write_tensors

# A file says its family. Parameters do not say which files a stage reads, so that it depends on every family.
FAMILIES: dict[str, type[Architecture]] = {shape.family: shape for shape in (VGGShape, ResNetShape)}
# What building a network raises where its structure makes none.
_NONSENSE = (AssertionError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError)


def save_network(network: Network, path: Path, identity: Mapping[str, Any]) -> None:
    """Write weights, batch-normalisation statistics, structure and identity; the same network gives the same bytes.

    Args:
        network: to be written.
        path: the file.
        identity: which network it is (compression, seed, method, ...), as `load_network` gives it back.
    """
    write_tensors(path, network.state_dict(), {"structure": network.structure(), "identity": dict(identity)})


@torch.inference_mode(False)  # else no layer of it could be trained or differentiated
def load_network(path: Path) -> tuple[Network, dict[str, Any]]:
    """Read a network, in eval mode, on the CPU, and its identity.

    Raises:
        UserError: the file is missing or is not a network that this project wrote.
    """
    tensors, description = read_tensors(path, "run the stage that trains it first")
    try:
        structure, identity = dict(description["structure"]), dict(description["identity"])
        # Without memory: a structure may claim layers that no machine can hold, and initial weights take time.
        with torch.device("meta"):
            network = _build(structure)
        expected = network.state_dict()
        if {name: tensor.shape for name, tensor in expected.items()} != {
            name: tensor.shape for name, tensor in tensors.items()
        }:
            raise ValueError("its weights are not those of its structure")
        # Copies: safetensors' own are windows into the file.
        loaded = {name: tensor.to(expected[name].dtype, copy=True) for name, tensor in tensors.items()}
        network.load_state_dict(loaded, assign=True)
    except (UserError, *_NONSENSE) as error:
        raise UserError(f"{path} is not a network file of this project: {error}") from None
    return network.eval(), identity


def _build(structure: dict[str, Any]) -> Network:
    family = structure.pop("family")
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family}")
    return FAMILIES[family].from_structure(structure).network(**structure)
