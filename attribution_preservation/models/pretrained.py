"""torchvision's ImageNet weights, as a teacher or as the start of one."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torchvision.models import ResNet34_Weights, VGG11_BN_Weights, VGG16_BN_Weights

from attribution_preservation.errors import UserError
from attribution_preservation.models.network import Network
from attribution_preservation.models.vgg import VGG
from attribution_preservation.storage.files import digest

_WEIGHTS = {
    "vgg16_bn": VGG16_BN_Weights.IMAGENET1K_V1,
    "vgg11_bn": VGG11_BN_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
}
# Names of torchvision's modules in a head, and of ours.
_HEAD = {"classifier.0.": "hidden.0.", "classifier.3.": "hidden.1.", "classifier.6.": "linear.", "fc.": "linear."}


def imagenet_url(architecture: str) -> str:
    """Address of torchvision's weights; the file's name ends with the first eight digits of its SHA-256.

    Raises:
        UserError: torchvision has no such network.
    """
    if architecture not in _WEIGHTS:
        raise UserError(f"teacher.networks: torchvision has no ImageNet weights for {architecture}; use init: scratch")
    return _WEIGHTS[architecture].url


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
        if not (found := digest(file, algorithm)).startswith(digits):
            raise OSError(f"the {algorithm} of {file} begins with {found[: len(digits)]}, not {digits}; delete it")
        weights = torch.load(file, map_location="cpu", weights_only=True)
        if isinstance(network, VGG):
            trunk = _below("features.", weights)
        else:
            trunk = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
        network.trunk.load_state_dict(trunk)
        if head:
            parts = [(ours, _below(theirs, weights)) for theirs, ours in _HEAD.items()]
            network.head.load_state_dict({ours + name: part[name] for ours, part in parts for name in part})
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"teacher.networks: ImageNet weights from {url} cannot be used: {error}") from None


def _below(prefix: str, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
