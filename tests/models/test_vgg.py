"""The networks as published, and their files."""

import json

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

from attribution_preservation.errors import UserError
from attribution_preservation.metrics.size import (
    multiply_accumulates,
    nonzero_parameters,
    parameters,
    sparsity,
)
from attribution_preservation.models.build import build
from attribution_preservation.models.network_files import load_network, save_network
from attribution_preservation.models.vgg import VGG
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT


def test_vgg16_for_voc_has_the_published_size():
    network = build("vgg16_bn", 1, classes=20, input_size=227, dropout=0.5)
    assert round(parameters(network) / 1e6, 2) == 15.22  # Tables 1 and 2
    assert network.map_size == 7


def test_vgg16_with_an_eighth_of_the_width_has_the_published_size():  # Tables 1 and 2
    assert round(parameters(build("vgg16_bn", 8, classes=20, input_size=227, dropout=0.5)) / 1e6, 2) == 0.29


@pytest.mark.parametrize("architecture", ["vgg16_bn", "vgg11_bn"])
def test_the_trunk_is_torchvisions(architecture):
    ours = build(architecture, 1, classes=20, input_size=64, dropout=0.5)
    theirs = torchvision.models.get_model(architecture, weights=None).features
    ours.trunk.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval().trunk(images), theirs.eval()(images))


def test_the_default_network_keeps_its_matched_map_at_seven_or_larger():
    size = read_yaml(PROJECT / "params" / "digits.yaml")["input"]["size"]
    assert build("vgg6_bn", 1, classes=10, input_size=size, dropout=0.5).map_size >= 7


def torchvisions(ours, theirs):
    """Our network with the weights of torchvision's vgg, name by name."""
    state = theirs.state_dict()
    ours.trunk.load_state_dict(
        {n.removeprefix("features."): t for n, t in state.items() if n.startswith("features.")}, assign=True
    )
    linears = [module for module in theirs.classifier if isinstance(module, nn.Linear)]
    for mine, other in zip(ours.head.linears, linears, strict=True):
        mine.load_state_dict(other.state_dict(), assign=True)
    return ours


def test_with_two_hidden_layers_it_is_torchvisions_vgg16_in_logits_and_gradients():
    theirs = torchvision.models.vgg16_bn(weights=None).eval()
    with torch.device("meta"):  # initial weights take time, and these are replaced
        ours = build("vgg16_bn", 1, classes=1000, input_size=224, dropout=0.5, hidden=(4096, 4096))
    ours = torchvisions(ours, theirs).eval()
    assert parameters(ours) == 138_365_992  # torchvision's documentation
    images, labels = torch.randn(1, 3, 224, 224), torch.tensor([7])
    logits = [network(images) for network in (ours, theirs)]
    torch.testing.assert_close(*logits)
    assert logits[0].std() > 0
    gradients = [
        torch.autograd.grad(F.cross_entropy(of_network, labels), list(network.parameters()))
        for of_network, network in zip(logits, (ours, theirs), strict=True)
    ]
    for mine, other in zip(*gradients, strict=True):  # in one order: trunk, then linear layers
        torch.testing.assert_close(mine, other, atol=1e-5 * float(other.abs().max()), rtol=1e-4)


def test_initial_weights_are_those_that_torchvision_draws():
    networks = []
    for make in (
        lambda: torchvision.models.VGG(torchvision.models.vgg.make_layers([8, "M", 512, "M"], batch_norm=True), 5),
        lambda: VGG((8, "M", 512, "M"), classes=5, input_size=28, dropout=0.5, hidden=(4096, 4096)),
    ):
        torch.manual_seed(4)
        networks.append(list(make().state_dict().values()))
    assert all(torch.equal(theirs, ours) for theirs, ours in zip(*networks, strict=True))


def test_dropout_follows_each_hidden_layer_and_comes_nowhere_else():
    head = VGG((4, "M"), classes=3, input_size=4, dropout=0.75, hidden=(50, 40)).double().train().head
    feature_map = torch.randn(2000, 4, 2, 2, dtype=torch.float64)
    kept = head.draw(feature_map)
    assert [factors.shape for factors in kept] == [(2000, 50), (2000, 40)]
    for factors in kept:
        assert set(factors.unique().tolist()) == {0.0, 4.0}
        assert factors.mean().item() == pytest.approx(1, abs=0.025)  # four standard deviations
    first, second, last = head.linears
    by_hand = feature_map.flatten(1)
    for linear, factors in zip((first, second), kept, strict=True):
        by_hand = (by_hand @ linear.weight.T + linear.bias).clamp(min=0) * factors
    expected = by_hand @ last.weight.T + last.bias
    torch.testing.assert_close(head.logits(feature_map, kept), expected, atol=1e-14, rtol=1e-10)
    assert not torch.equal(head(feature_map), head(feature_map))  # a draw of its own each time
    assert head.eval().draw(feature_map) is None
    torch.testing.assert_close(head(feature_map), head.logits(feature_map, None))


def test_without_hidden_layers_a_file_says_nothing_of_them():
    network = build("vgg6_bn", 2, classes=3, input_size=16, dropout=0.5)
    assert json.dumps(network.structure()) == (
        '{"family": "vgg", "layers": [8, "M", 16, "M", 32, 32, 48, "M"], "classes": 3, "input_size": 16, '
        '"dropout": 0.5}'
    )
    assert [name for name in network.state_dict() if name.startswith("head.")] == [
        "head.linear.weight",
        "head.linear.bias",
    ]


def test_an_input_that_is_too_small_is_refused():
    with pytest.raises(UserError, match=r"input\.size: 16 pixels are too few for 5 max-pools"):
        build("vgg16_bn", 1, classes=20, input_size=16, dropout=0.5)


def test_a_divisor_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match="width_divisor"):
        build("vgg16_bn", 7, classes=20, input_size=64, dropout=0.5)


def test_a_file_gives_back_the_network_and_the_same_network_the_same_bytes(network, tmp_path):
    identity = {"compression": "teacher", "seed": 5}
    save_network(network, tmp_path / "a.safetensors", identity)
    save_network(network, tmp_path / "b.safetensors", identity)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded, stored = load_network(tmp_path / "a.safetensors")
    assert stored == identity
    loaded = loaded.double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(loaded(images), network(images), atol=1e-6, rtol=1e-5)  # files hold what the net holds
    assert not loaded.training


@pytest.mark.parametrize("damage", ["truncated", "foreign", "text"])
def test_a_damaged_file_is_named(network, tmp_path, damage):
    path = tmp_path / "a.safetensors"
    if damage == "foreign":
        save_file({"x": torch.zeros(1)}, path)
    elif damage == "text":
        path.write_text("not tensors")
    else:
        save_network(network, path, {})
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"a\.safetensors (is damaged|was not written by this project)"):
        load_network(path)


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="run the stage that trains it first"):
        load_network(tmp_path / "a.safetensors")


def test_sizes_count_what_is_zero(network):
    total = parameters(network)
    # By hand: (3*9+1)*4 + 2*4, (4*9+1)*6 + 2*6, 6*2*2*3 + 3.
    assert total == 112 + 8 + 222 + 12 + 72 + 3
    with torch.no_grad():
        network.trunk[0].weight[:2] = 0
    assert nonzero_parameters(network) == total - 54 - int((network.trunk[0].bias == 0).sum()) - int(
        (network.trunk[4].bias == 0).sum()
    )
    masks = {name: module.weight != 0 for name, module in network.convolutions().items()}
    assert sparsity(masks) == pytest.approx(54 / (108 + 216))


def test_operations_are_counted_as_by_hand(network):
    # Convolutions: 4 filters of 3*9 on 8 x 8, 6 of 4*9 on 4 x 4; the linear layer 24 * 3.
    image = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    assert multiply_accumulates(network, image) == 4 * 27 * 64 + 6 * 36 * 16 + 72


def test_layers_bear_the_names_that_people_use():
    network = build("vgg16_bn", 8, classes=2, input_size=32, dropout=0.0).eval()
    images = torch.randn(1, 3, 32, 32)
    features = network.features(images, ["conv1", "pool2"])
    assert list(features) == ["conv1", "pool2", "pool5"]
    torch.testing.assert_close(features["conv1"], network.trunk[:3](images))
    assert features["pool2"].shape == (1, 16, 8, 8)
    torch.testing.assert_close(features["pool5"], network.trunk(images))
