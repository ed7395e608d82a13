"""From a shape to a network of its family."""

from collections.abc import Iterable, Mapping

import torch

from attribution_preservation.models.architectures import Architecture, VGGShape, narrowed
from attribution_preservation.models.network import Network
from attribution_preservation.models.vgg import VGG


def build(
    architecture: str,
    width_divisor: int,
    rates: Mapping[str, float] | None = None,
    *,
    classes: int,
    input_size: int,
    dropout: float,
    hidden: Iterable[int] = (),
) -> Network:
    """An architecture with every width divided by `width_divisor`, then thinned as channel pruning would.

    Args:
        architecture: a name in `attribution_preservation.models.architectures`.
        width_divisor: divides every width of the trunk.
        rates: share of the filters that are missing, by the convolution's name, or for `all` that are not named.
        classes, input_size, dropout, hidden: as `of_shape` takes them.

    Raises:
        UserError: a width is not divisible, a layer is left without filters, or the input is too small.
        ValueError: hidden layers in a residual network.
    """
    shape = narrowed(architecture, width_divisor).thinned(rates or {})
    return of_shape(shape, classes=classes, input_size=input_size, dropout=dropout, hidden=hidden)


@torch.inference_mode(False)  # else no layer of it could be trained or differentiated
def of_shape(
    shape: Architecture, *, classes: int, input_size: int, dropout: float, hidden: Iterable[int] = ()
) -> Network:
    """A network with initial weights.

    Args:
        shape: of its trunk.
        classes: number of logits C.
        input_size: side of the square input in pixels.
        dropout: probability before the linear layer, or behind each hidden one.
        hidden: widths of hidden linear layers before the last; a VGG's alone.

    Raises:
        UserError: the input is too small.
        ValueError: hidden layers in a residual network.
    """
    hidden = tuple(hidden)
    if isinstance(shape, VGGShape):
        return VGG(shape.layers, classes=classes, input_size=input_size, dropout=dropout, hidden=hidden)
    if hidden:
        raise ValueError("a residual network has no hidden layers in its head")
    # Imported here: torchvision's models take time to import, and only this family needs them.
    from attribution_preservation.models.resnet import ResNet

    return ResNet(shape, classes=classes, input_size=input_size, dropout=dropout)
