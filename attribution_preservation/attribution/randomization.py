"""Does a map depend on what the network has learnt? Its layers replaced by untrained ones, from the logits down."""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from attribution_preservation.models.gradient_mode import differentiable
from attribution_preservation.models.network import Network


def cascade(network: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """The network with more and more of its layers untrained, from the last linear layer down to the first convolution.

    A convolution goes together with its batch normalisation; of a residual network, only the first of each block is
    replaced. The given network is left as it was.

    Args:
        network: in eval mode.
        seed: of the untrained weights, which torch draws as for any new layer.

    Yields:
        The name of the layer that was last replaced, `head` first, then hidden ones (`head.hidden.1`) and convolutions,
        and a network of its own for each step, in eval mode.

    Source: cascading randomisation, Adebayo et al. 2018, Sanity checks for saliency maps, section 3.1.
    """
    # On the CPU, whose generator draws the same for every device.
    device = next(network.parameters()).device
    with differentiable():
        untrained = copy.deepcopy(network).cpu()
    layers: list[tuple[str, list[nn.Module]]] = [("head", [untrained.head.linear])]
    for number, hidden in reversed(list(enumerate(untrained.head.linears[:-1]))):
        layers.append((f"head.hidden.{number}", [hidden]))
    for name, group in reversed(list(untrained.filter_groups())):
        layers.append((name, [group.convolution, group.normalization]))
    for number, (name, modules) in enumerate(layers):
        # torch's initialisers draw from its global generator, which stays as it was for everyone else.
        with torch.random.fork_rng(devices=[]), differentiable():
            torch.default_generator.manual_seed(seed + number)
            for module in modules:
                module.reset_parameters()
            step = copy.deepcopy(untrained).to(device)
        yield name, step
