"""Replaces layers by untrained ones, from the logits down, to test whether maps depend on the learnt weights."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from attribution_preservation.models.gradient_mode import differentiable
from attribution_preservation.models.network import Network


def cascade(network: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """Replace ever more layers by untrained ones, from the last linear layer down to the first convolution.

    A convolution is replaced together with its batch normalisation. In a residual network, only the first convolution
    of each block is replaced. The given network does not change.

    Args:
        network: in eval mode.
        seed: seed of the untrained weights, which torch draws as for any new layer.

    Yields:
        The name of the layer that was replaced last, and a separate copy of the network in eval mode. The order is
        `head`, hidden linear layers (`head.hidden.1`), convolutions.

    Source: cascading randomisation, Adebayo et al. 2018, Sanity checks for saliency maps, section 3.1.
    """
    # On the CPU, so that the weights are the same for every device.
    device = next(network.parameters()).device
    with differentiable():
        untrained = copy.deepcopy(network).cpu()
    layers: list[tuple[str, list[nn.Module]]] = [("head", [untrained.head.linear])]
    for number, hidden in reversed(list(enumerate(untrained.head.linears[:-1]))):
        layers.append((f"head.hidden.{number}", [hidden]))
    for name, group in reversed(list(untrained.filter_groups())):
        layers.append((name, [group.convolution, group.normalization]))
    for number, (name, modules) in enumerate(layers):
        # torch's initialisers draw from its global generator, whose state is restored for all other code.
        with torch.random.fork_rng(devices=[]), differentiable():
            torch.default_generator.manual_seed(seed + number)
            for module in modules:
                module.reset_parameters()
            step = copy.deepcopy(untrained).to(device)
        yield name, step
