"""How large is a network?"""

from torch import nn


def parameters(network: nn.Module) -> int:
    """Number of parameters, biases and batch normalisation included."""
    return sum(parameter.numel() for parameter in network.parameters())


def nonzero_parameters(network: nn.Module) -> int:
    """Number of parameters that are not 0."""
    return sum(int(parameter.count_nonzero()) for parameter in network.parameters())


def weight_sparsity(network: nn.Module) -> float:
    """Share of the convolution weights that are 0, from 0 to 1: what weight pruning counts."""
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    return 1 - sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)
