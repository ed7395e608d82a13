"""Size of a network, and number of its operations."""

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(network: nn.Module) -> int:
    """Number of parameters, biases and batch normalisation included."""
    return sum(parameter.numel() for parameter in network.parameters())


def nonzero_parameters(network: nn.Module) -> int:
    """Number of parameters that are not 0."""
    return sum(int(parameter.count_nonzero()) for parameter in network.parameters())


def sparsity(masks: Mapping[str, torch.Tensor]) -> float:
    """Share of the weights that were pruned, from 0 to 1.

    Args:
        masks: mask of each pruned layer's weights, bool, True for each remaining weight.
    """
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def multiply_accumulates(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> int:
    """Multiply-accumulate operations of one forward pass, of convolutions and matrix products, zeros included.

    Args:
        network: any function of images, differentiable or not.
        image: one input, [1, 3, S, S]; only its shape matters.

    Source: torch's own count of floating-point operations, two for each multiply-accumulate.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(image)
    return counter.get_total_flops() // 2
