"""Information bottleneck attribution: how many bits of each feature the class needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.models.architecture import Architecture
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Count, Repeats, Seed, Steps

_START = 5.0  # start of alpha: sigmoid(5) = 0.993, so almost everything passes
_LEAST_DEVIATION, _LEAST_ACTIVE = 0.01, 0.01
_PER_PASS = 50  # references per forward pass
_LEAST_SIDE = 3  # cells; the blur's kernel has five cells, half of which must fit at an edge of the map


class InformationBottleneckSettings(MethodSettings):
    """Schulz et al.'s per-sample bottleneck.

    Attributes:
        layer: name of the layer that receives the noise; null for the layer that Grad-CAM explains.
        steps: optimiser steps.
        samples: noise samples per step.
        references: number of training images, taken from the start, that estimate the distribution of the units.
        seed: seed of the noise.
    """

    layer: str | None = None
    steps: Steps
    samples: Repeats
    references: Count
    seed: Seed


@dataclass(frozen=True)
class Units:
    """Distribution of a layer's units over some images.

    Attributes:
        layer: name of the layer.
        mean: mean of each unit, [K, h, w].
        deviation: standard deviation of each unit, [K, h, w], at least 0.01, as published.
        active: whether a unit is not 0 in more than 1% of the images, bool [K, h, w].
    """

    layer: str
    mean: torch.Tensor
    deviation: torch.Tensor
    active: torch.Tensor


@explains
@torch.no_grad()
def describe_units(network: Network, layer: str, references: torch.Tensor) -> Units:
    """Estimate the distribution of a layer's units.

    Args:
        network: in eval mode.
        layer: name of a layer of the network.
        references: normalised training images [R, 3, S, S]. More images give a better standard deviation of units that
            are rarely active.

    Raises:
        ValueError: the layer does not exist.
    """
    if layer not in network.layer_index:
        raise ValueError(f"the network has no layer {layer}; it has {', '.join(network.layer_index)}")
    first = second = active = torch.zeros((), dtype=torch.float64, device=references.device)
    for part in references.split(_PER_PASS):
        values = network.until(layer, part).double()
        first = first + values.sum(0)
        second = second + values.square().sum(0)
        active = active + (values != 0).sum(0)
    mean = first / len(references)
    deviation = (second / len(references) - mean.square()).clamp(min=0).sqrt().clamp(min=_LEAST_DEVIATION)
    return Units(layer, mean.to(references), deviation.to(references), active > _LEAST_ACTIVE * len(references))


@explains
def information_bottleneck(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    units: Units,
    steps: int,
    samples: int,
    weight: float = 10.0,
    seed: int = 0,
) -> torch.Tensor:
    """Bits of information that pass each position of a layer when noise replaces all that the class does not need.

    A mask lambda = blur(sigmoid(alpha)) has one value for each unit of the layer. It mixes the unit's value r with
    noise e: z = lambda r + (1 - lambda) e. The noise has the unit's distribution N(mu, sigma^2). alpha minimises
    loss(z) + weight * mean information. The information of a unit is bounded by KL(p(z | r) || N(mu, sigma^2)).
    loss is -log sigmoid(y_c), because the task is multi-label. The optimiser is Adam with learning rate 1. The noise is
    the same for every pair. Units that are rarely active (see `Units`) are set to 0 and carry no information.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        units: units of the layer that receives the noise, as `describe_units` returns them for the same network.
        steps: optimiser steps (published: 10).
        samples: noise samples per step (published: 10).
        weight: beta (published: 10).
        seed: seed of the noise.

    Returns:
        Non-negative maps [P, h, w] in bits, at the layer's resolution.

    Raises:
        ValueError: as `rows_of`.

    Source: Schulz et al. 2020, "Restricting the flow", per-sample bottleneck.
    """
    rows = rows_of(network, images, classes, image_of_pair)
    with torch.no_grad():
        value = of_pairs(network.until(units.layer, images), rows)
    standard = (value - units.mean) / units.deviation
    blur = _Blur(value)
    alpha = torch.full_like(value, _START).requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=1.0)
    generator = torch.Generator().manual_seed(seed)
    targets = classes.repeat(samples)
    for _ in range(steps):
        drawn = torch.randn(samples, 1, *value.shape[1:], generator=generator, dtype=torch.float32).to(value)
        with torch.enable_grad():
            passing = blur(alpha.sigmoid())
            noise = (1 - passing) * (drawn * units.deviation + units.mean)
            mixed = units.active * (passing * value + noise)
            logits = network.head(network.beyond(units.layer, mixed.flatten(0, 1))[network.last_layer])
            surprise = F.softplus(-logits.gather(1, targets[:, None])).view(samples, -1).mean(0).sum()
            loss = surprise + weight * (units.active * _information(passing, standard)).flatten(1).mean(1).sum()
        (alpha.grad,) = torch.autograd.grad(loss, alpha)
        optimizer.step()
    with torch.no_grad():
        nats = units.active * _information(blur(alpha.sigmoid()), standard)
    return nats.sum(1) / torch.log(torch.tensor(2.0, dtype=nats.dtype))


class _Blur:
    """Gaussian blur with a sigma of one cell and reflection at the edges.

    It multiplies by two matrices, because the gradient of reflection padding is not deterministic on a GPU.
    """

    def __init__(self, like: torch.Tensor) -> None:
        # Imported here because torchvision takes two seconds and checking a profile does not need it.
        from torchvision.transforms.v2.functional import gaussian_blur

        def along(side: int) -> torch.Tensor:
            unit = torch.eye(side, dtype=like.dtype, device=like.device)
            return gaussian_blur(unit[None], [5, 1], [1.0, 1.0])[0]

        height, width = like.shape[2:]
        self._down, self._across = along(height).T, along(width)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Blur values [..., h, w]."""
        return self._down @ values @ self._across


def _information(passing: torch.Tensor, standard: torch.Tensor) -> torch.Tensor:
    """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) of each unit in nats, where r is in standard units."""
    spread = (1 - passing).clamp(min=1e-6).square()
    return 0.5 * ((passing * standard).square() + spread - spread.log() - 1)


def _keywords(
    settings: InformationBottleneckSettings, network: Network, training_images: torch.Tensor
) -> dict[str, Any]:
    layer = settings.layer or network.explained_layer
    units = describe_units(network, layer, training_images[: settings.references])
    return {"units": units, "steps": settings.steps, "samples": settings.samples, "seed": settings.seed}


def _refuses(settings: InformationBottleneckSettings, networks: Sequence[Architecture], size: int) -> str | None:
    """Refuses a layer whose map is too small: a mask of so few cells cannot be blurred."""
    for network in networks:
        side = network.map_sizes(size).get(settings.layer or network.explained_layer, _LEAST_SIDE)
        if side < _LEAST_SIDE:
            return (
                f".layer: its map has a side of {side}; a mask of less than {_LEAST_SIDE} cells cannot be blurred, "
                "choose an earlier layer or a larger input.size"
            )
    return None


INFORMATION_BOTTLENECK = AttributionMethod(
    "information_bottleneck",
    "Information bottleneck",
    information_bottleneck,
    InformationBottleneckSettings,
    resolution="layer",
    needs="layer",
    example={"steps": 3, "samples": 2, "references": 6, "seed": 0},
    refuses=_refuses,
    libraries=("torchvision",),
    keywords=_keywords,
    of_probability=True,
    knows_training=True,
)
