"""Methods that follow the gradient down to the pixels: gradient x input, integrated gradients, DeepLIFT.

The last two are captum's. Maps are signed and summed over the three colours; the baseline is 0, the mean colour of the
data after normalisation.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

import attribution_preservation.drawing  # noqa: F401 (first: captum imports matplotlib)

# isort: split
from captum.attr import DeepLift, IntegratedGradients
from torchvision.models.resnet import BasicBlock

from attribution_preservation.attribution.pairs import of_pairs, rows_of
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network


@explains
def gradient_input(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """M = sum over colours of x * d y_c / d x.

    The forward pass of an image is shared by all its classes.

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Returns:
        Maps [P, S, S].

    Raises:
        ValueError: as `rows_of`.

    Source: Shrikumar et al. 2016, "Not just a black box".
    """
    rows = rows_of(network, images, classes, image_of_pair)
    rows = torch.arange(len(classes), device=classes.device) if rows is None else rows
    maps = images.new_empty(len(classes), *images.shape[2:])
    source = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = network(source)
    for pairs in _one_class_per_image(rows):
        chosen = logits[rows[pairs], classes[pairs]].sum()
        (gradient,) = torch.autograd.grad(chosen, source, retain_graph=True)
        maps[pairs] = (gradient * images)[rows[pairs]].sum(1)
    return maps


@explains
def integrated_gradients(
    network: Network,
    images: torch.Tensor,
    classes: torch.Tensor,
    image_of_pair: torch.Tensor | None = None,
    *,
    steps: int,
) -> torch.Tensor:
    """x times the mean gradient on the straight line from 0 to x, by Gauss-Legendre quadrature.

    The sum of a map approaches y_c(x) - y_c(0) as the number of steps grows.

    Args:
        network, images, classes, image_of_pair: as `gradient_input`.
        steps: points on the line.

    Returns:
        Maps [P, S, S].

    Source: Sundararajan et al. 2017.
    """
    inputs = of_pairs(images, rows_of(network, images, classes, image_of_pair))
    if not len(inputs):
        return images.new_empty(0, *images.shape[2:])
    with torch.enable_grad():
        found = IntegratedGradients(network).attribute(
            inputs, target=classes, n_steps=steps, method="gausslegendre", internal_batch_size=max(len(inputs), 64)
        )
    return found.detach().sum(1).to(images.dtype)


@explains
def deep_lift(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """DeepLIFT with the rescale rule: differences of activations to those of the baseline are handed down.

    The sum of a map is y_c(x) - y_c(0).

    Args:
        network, images, classes, image_of_pair: as `gradient_input`.

    Returns:
        Maps [P, S, S].

    Raises:
        TypeError: the network uses one ReLU twice (torchvision's residual blocks), which captum cannot follow.

    Source: Shrikumar et al. 2017.
    """
    if any(isinstance(module, BasicBlock) for module in network.modules()):
        raise TypeError("DeepLIFT has no rule for a layer of type BasicBlock: it uses one ReLU twice")
    inputs = of_pairs(images, rows_of(network, images, classes, image_of_pair))
    if not len(inputs):
        return images.new_empty(0, *images.shape[2:])
    with torch.enable_grad(), _any_algorithm(), warnings.catch_warnings():
        # It hangs hooks on the network and takes them off again: a test looks.
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        found = DeepLift(network).attribute(inputs.detach().requires_grad_(), target=classes)
    return found.detach().sum(1)


@contextmanager
def _any_algorithm() -> Iterator[None]:
    """Allow max-unpooling, which torch refuses in deterministic mode; where pools do not overlap no order matters."""
    strict = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=only_warns)


def _one_class_per_image(rows: torch.Tensor) -> list[torch.Tensor]:
    """Positions of pairs in rounds, in each of which no image occurs twice."""
    occurrence = torch.zeros_like(rows)
    seen: dict[int, int] = {}
    for position, row in enumerate(rows.tolist()):
        occurrence[position] = seen[row] = seen.get(row, -1) + 1
    return [torch.nonzero(occurrence == turn)[:, 0] for turn in range(max(seen.values(), default=-1) + 1)]
