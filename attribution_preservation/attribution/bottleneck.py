"""Information bottleneck attribution: how many bits of each feature does the class need?"""

import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from attribution_preservation.attribution.pairs import of_pairs, rows_of
from attribution_preservation.models.network import Network

_START = 5.0  # of alpha: sigmoid(5) = 0.993, almost everything passes


def information_bottleneck(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    layer: str,
    references: torch.Tensor,
    steps: int,
    samples: int,
    weight: float = 10.0,
    seed: int = 0,
) -> torch.Tensor:
    """Bits of information that flow at each position of a layer, when noise replaces all that the class can spare.

    A mask lambda = blur(sigmoid(alpha)), one value for each unit of the layer, mixes the unit's value r with noise of
    its distribution N(mu, sigma^2): z = lambda r + (1 - lambda) e. alpha minimises loss(z) + weight * mean information,
    with the information of a unit bounded by KL(p(z | r) || N(mu, sigma^2)). Adam, learning rate 1. The noise is the
    same for every pair. loss is -log sigmoid(y_c), as the task is multi-label.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.
        layer: name of the layer where noise enters.
        references: normalised training images [R, 3, S, S] over which mu and sigma of each unit are estimated.
        steps: of the optimiser (published: 10).
        samples: draws of noise per step (published: 10).
        weight: beta (published: 10).
        seed: of the noise.

    Returns:
        Maps [P, h, w] in bits, not negative, in the layer's resolution.

    Raises:
        ValueError: as `rows_of`, or the layer does not exist.

    Source: Schulz et al. 2020, "Restricting the flow", per-sample bottleneck.
    """
    rows = rows_of(network, images, classes, image_of_pair)
    if layer not in network.layer_index:
        raise ValueError(f"the network has no layer {layer}; it has {', '.join(network.layer_index)}")
    with torch.no_grad():
        usual = network.until(layer, references)
        mean, deviation = usual.mean(0), usual.std(0, correction=0)
        value = of_pairs(network.until(layer, images), rows)
    # A unit that never varies carries no information, whatever the mask does.
    varies = deviation > 0
    standard = torch.where(varies, (value - mean) / torch.where(varies, deviation, 1), 0)
    alpha = torch.full_like(value, _START).requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=1.0)
    generator = torch.Generator().manual_seed(seed)
    targets = classes.repeat(samples)
    for _ in range(steps):
        drawn = torch.randn(samples, 1, *value.shape[1:], generator=generator).to(value)
        with torch.enable_grad():
            passing = _passing(alpha)
            noise = (1 - passing) * (drawn * deviation + mean)
            logits = network.head(network.beyond(layer, (passing * value + noise).flatten(0, 1))[network.last_layer])
            surprise = F.softplus(-logits.gather(1, targets[:, None])).view(samples, -1).mean(0).sum()
            loss = surprise + weight * (varies * _information(passing, standard)).flatten(1).mean(1).sum()
        (alpha.grad,) = torch.autograd.grad(loss, alpha)
        optimizer.step()
    with torch.no_grad():
        nats = varies * _information(_passing(alpha), standard)
    return nats.sum(1) / torch.log(torch.tensor(2.0, dtype=nats.dtype))


def _passing(alpha: torch.Tensor) -> torch.Tensor:
    return gaussian_blur(alpha.sigmoid(), [5, 5], [1.0, 1.0])


def _information(passing: torch.Tensor, standard: torch.Tensor) -> torch.Tensor:
    """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) of each unit in nats, r in standard units."""
    spread = (1 - passing).clamp(min=1e-6).square()
    return 0.5 * ((passing * standard).square() + spread - spread.log() - 1)
