"""DeepLIFT, by captum: the baseline is 0, the mean colour of the data after normalisation."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from attribution_preservation.attribution.method import AttributionMethod, MethodSettings
from attribution_preservation.attribution.pair_images import of_pairs, rows_of
from attribution_preservation.models.architecture import Architecture
from attribution_preservation.models.gradient_mode import explains
from attribution_preservation.models.network import Network


@explains
def deep_lift(
    network: Network, images: torch.Tensor, classes: torch.Tensor, image_of_pair: torch.Tensor | None = None
) -> torch.Tensor:
    """DeepLIFT with the rescale rule: propagates the differences between the image's activations and the baseline's.

    The sum of a map is y_c(x) - y_c(0).

    Args:
        network: in eval mode.
        images: normalised, [B, 3, S, S].
        classes: class to explain for each pair, int64 [P].
        image_of_pair: row of each pair's image, int64 [P]; left out, pair p explains image p.

    Returns:
        Maps [P, S, S], signed, summed over the three colours.

    Raises:
        ValueError: as `rows_of`.
        TypeError: the network uses one ReLU twice (torchvision's residual blocks), which captum cannot follow.

    Source: Shrikumar et al. 2017.
    """
    # Imported here because they take seconds and checking a profile does not need them. Captum imports matplotlib.
    import attribution_preservation.drawing  # noqa: F401

    # isort: split
    from captum.attr import DeepLift
    from torchvision.models.resnet import BasicBlock

    if any(isinstance(module, BasicBlock) for module in network.modules()):
        raise TypeError("DeepLIFT has no rule for a layer of type BasicBlock: it uses one ReLU twice")
    inputs = of_pairs(images, rows_of(network, images, classes, image_of_pair))
    if not len(inputs):
        return images.new_empty(0, *images.shape[2:])
    with torch.enable_grad(), _any_algorithm(), warnings.catch_warnings():
        # Captum adds hooks to the network and removes them afterwards; a test checks this.
        warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
        attributions = DeepLift(network).attribute(inputs.detach().requires_grad_(), target=classes)
    return attributions.detach().sum(1)


@contextmanager
def _any_algorithm() -> Iterator[None]:
    """Allow max-unpooling, which torch refuses in deterministic mode. Order does not matter if pools do not overlap."""
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _refuses(settings: MethodSettings, networks: Sequence[Architecture], size: int) -> str | None:
    """Refuses residual networks: captum cannot follow their blocks."""
    if all(network.sequential for network in networks):
        return None
    return ": DeepLIFT cannot follow residual blocks; leave it out"


DEEP_LIFT = AttributionMethod(
    "deep_lift",
    "DeepLIFT",
    deep_lift,
    refuses=_refuses,
    libraries=("attribution_preservation.drawing", "captum.attr", "torchvision"),
)
