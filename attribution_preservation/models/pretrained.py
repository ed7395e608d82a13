"""torchvision's ImageNet weights, as a teacher or as the start of one."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torchvision.models import get_weight

from attribution_preservation.entries import load
from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.network import Network
from attribution_preservation.storage.files import digest

# Names of torchvision's modules in a head, and of ours.
_HEAD = {"classifier.0.": "hidden.0.", "classifier.3.": "hidden.1.", "classifier.6.": "linear.", "fc.": "linear."}


def imagenet_url(architecture: str) -> str:
    """Address of torchvision's weights; the file's name ends with the first eight digits of its SHA-256.

    Raises:
        UserError: torchvision has no such network.
    """
    entry = load(NamedArchitecture, architecture)
    if entry is None or entry.weights is None:
        raise UserError(f"teacher.networks: torchvision has no ImageNet weights for {architecture}; use init: scratch")
    return get_weight(entry.weights).url


def load_imagenet(network: Network, url: str, checksum: str, *, head: bool) -> None:
    """Download torchvision's weights once, verify them, and copy them into a network.

    Args:
        network: is changed.
        url: of the file.
        checksum: `sha256:` and the first digits, eight or more, of the file's checksum.
        head: whether the head's weights are copied as well; else it stays as it is.

    Raises:
        UserError: the download fails, the file is another one, or the widths do not fit.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file))
        algorithm, digits = checksum.split(":")
        if not (checksum_of_file := digest(file, algorithm)).startswith(digits):
            start = checksum_of_file[: len(digits)]
            raise OSError(f"the {algorithm} of {file} begins with {start}, not {digits}; delete it")
        weights = torch.load(file, map_location="cpu", weights_only=True)
        below = {name: tensor for name, tensor in weights.items() if not name.startswith(tuple(_HEAD))}
        network.trunk.load_state_dict(_below(network.torchvision_trunk, below))
        if head:
            parts = [(ours, _below(theirs, weights)) for theirs, ours in _HEAD.items()]
            network.head.load_state_dict({ours + name: part[name] for ours, part in parts for name in part})
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"teacher.networks: ImageNet weights from {url} cannot be used: {error}") from None


def _below(prefix: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
