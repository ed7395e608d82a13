"""torchvision's ImageNet weights as the start of a VOC teacher."""

from typing import Any

import torch
from torchvision.models import VGG11_BN_Weights, VGG16_BN_Weights

from attribution_preservation.errors import UserError
from attribution_preservation.models.vgg import VGG

_WEIGHTS = {"vgg16_bn": VGG16_BN_Weights.IMAGENET1K_V1, "vgg11_bn": VGG11_BN_Weights.IMAGENET1K_V1}


def imagenet_url(architecture: str) -> str:
    """Address of torchvision's weights; the file's name ends with the first eight digits of its SHA-256.

    Raises:
        UserError: torchvision has no such network.
    """
    if architecture not in _WEIGHTS:
        raise UserError(f"teacher.init: torchvision has no ImageNet weights for {architecture}; use init: scratch")
    return _WEIGHTS[architecture].url


def load_imagenet_trunk(network: VGG, url: str) -> None:
    """Download torchvision's weights once (checked against the hash in their name) and copy the trunk's.

    Raises:
        UserError: the download fails, its hash is wrong, or the widths do not fit.
    """
    try:
        weights: dict[str, Any] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True, progress=True
        )
        trunk = {name.removeprefix("features."): t for name, t in weights.items() if name.startswith("features.")}
        network.trunk.load_state_dict(trunk)
    except (OSError, RuntimeError) as error:
        raise UserError(f"teacher.init: ImageNet weights from {url} cannot be used: {error}") from None
