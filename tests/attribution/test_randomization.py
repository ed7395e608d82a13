"""Layers become untrained one after the other, and nothing else changes."""

import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.attribution.randomization import cascade
from attribution_preservation.metrics.similarity import rank_correlation
from tests.conftest import make_hidden, make_network, make_residual


def changed(network, other):
    """Names of the modules whose weights differ."""
    weights, others = network.state_dict(), other.state_dict()
    return {name.rsplit(".", 1)[0] for name in weights if not torch.equal(weights[name], others[name])}


def test_layers_are_untrained_from_the_logits_down(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    steps = list(cascade(network, 0))
    assert [name for name, _ in steps] == ["head", "conv2", "conv1"]
    modules = [changed(network, untrained) for _, untrained in steps]
    # Modules of the trunk: convolution 0, its normalisation 1, and from the second one 4 and 5.
    assert modules[0] == {"head.linear"}
    assert modules[1] == modules[0] | {"trunk.4", "trunk.5"}
    assert modules[2] == modules[1] | {"trunk.0", "trunk.1"}
    assert all(not untrained.training for _, untrained in steps)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_hidden_layers_are_untrained_before_any_convolution():
    network = make_hidden(0)
    steps = list(cascade(network, 0))
    assert [name for name, _ in steps] == ["head", "head.hidden.1", "head.hidden.0", "conv2", "conv1"]
    before: set[str] = set()
    for (_, untrained), parts in zip(
        steps,
        ({"head.linear"}, {"head.hidden.1"}, {"head.hidden.0"}, {"trunk.4", "trunk.5"}, {"trunk.0", "trunk.1"}),
        strict=True,
    ):
        before |= parts
        assert changed(network, untrained) == before


def test_of_a_residual_network_the_first_convolution_of_each_block_is_untrained():
    network = make_residual(0)
    steps = list(cascade(network, 0))
    assert [name for name, _ in steps] == ["head", "layer2.0.conv1", "layer1.0.conv1"]
    blocks = {f"trunk.layer{number}.0.{part}" for number in (1, 2) for part in ("conv1", "bn1")}
    assert changed(network, steps[-1][1]) == {"head.linear"} | blocks


def test_weights_are_drawn_from_the_seed_and_from_nothing_else(network):
    state = torch.random.get_rng_state()
    first, again, other = (list(cascade(network, seed))[-1][1] for seed in (3, 3, 4))
    assert changed(first, again) == set()
    assert "head.linear" in changed(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_does_not_look_at_the_network_is_caught():
    images, classes = torch.rand(6, 3, 8, 8, dtype=torch.float64), torch.arange(6) % 3

    def edges(network, images, classes):  # a map of the image alone, as Adebayo et al.'s edge detector
        return (images[:, :, 1:, :7] - images[:, :, :7, :7]).abs().sum(1)

    trained = make_network(1)
    (*_, (_, untrained)) = cascade(trained, 0)
    for method, depends in ((edges, False), (grad_cam, True)):
        maps = [method(network, images, classes).detach().numpy() for network in (trained, untrained)]
        assert (rank_correlation(*maps).mean() < 0.9) == depends
