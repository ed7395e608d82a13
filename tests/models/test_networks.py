"""What every network that params.yaml may name has in common."""

import subprocess
import sys

import pytest
import torch
import torchvision

from attribution_preservation.models.architecture import Architecture, narrowed
from attribution_preservation.models.build import build
from attribution_preservation.models.network_files import FAMILIES, load_network, save_network
from attribution_preservation.models.networks import NETWORKS
from tests.conftest import PROJECT


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_from_its_file_with_its_shape(name, tmp_path):
    built = build(name, 16, classes=3, input_size=64, dropout=0.0).eval()
    save_network(built, tmp_path / "network", {})
    loaded, _ = load_network(tmp_path / "network")
    structure = loaded.structure()
    assert structure == built.structure()
    shape = FAMILIES[structure.pop("family")].from_structure(structure)
    assert shape == narrowed(name, 16)
    assert structure == {"classes": 3, "input_size": 64, "dropout": 0.0}  # nothing of the shape is left


@pytest.mark.parametrize("name", NETWORKS)
def test_the_weights_are_those_of_torchvisions_network_of_this_name(name):
    entry = NETWORKS[name]
    assert (name in torchvision.models.list_models()) == (entry.weights is not None)
    if entry.weights is None:
        assert entry.hidden == ()
        return
    weights = torchvision.models.get_weight(entry.weights)
    assert weights is torchvision.models.get_model_weights(name).IMAGENET1K_V1
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None)
        ours = build(name, 1, classes=1000, input_size=224, dropout=0.0, hidden=entry.hidden)
    assert [weight.shape for weight in ours.parameters()] == [weight.shape for weight in theirs.parameters()]
    trunk = {ours.torchvision_trunk + key: weight.shape for key, weight in ours.trunk.state_dict().items()}
    assert trunk.items() <= {key: weight.shape for key, weight in theirs.state_dict().items()}.items()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_family_with_hidden_layers_builds_them_and_another_says_why_not(name):
    shape = narrowed(name, 16)
    reason, options = shape.refuses_hidden([4]), {"classes": 3, "input_size": 64, "dropout": 0.0}
    assert shape.refuses_hidden([]) is None
    if reason:
        with pytest.raises(ValueError, match=f"^{reason}$"):
            shape.network(**options, hidden=[4])
    else:
        assert [linear.out_features for linear in shape.network(**options, hidden=[4]).head.linears] == [4, 3]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_sequential_network_has_no_layer_with_two_inputs(name):
    network = build(name, 16, classes=3, input_size=64, dropout=0.0).eval()
    images = flowing = torch.randn(1, 3, 64, 64)
    for module in network.trunk.modules():
        if not list(module.children()):
            try:
                flowing = module(flowing)
            except RuntimeError:  # a convolution beside a block reads the block's input
                break
    assert torch.equal(flowing, network.trunk(images)) == NETWORKS[name].shape.sequential


def test_every_family_is_read_from_files():
    assert set(FAMILIES.values()) == set(Architecture.__subclasses__())


def test_an_unknown_architecture_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=f"^architecture: there is no vgg19; there are {', '.join(NETWORKS)}$"):
        build("vgg19", 1, classes=2, input_size=64, dropout=0.0)


def test_names_and_shapes_are_known_without_torch():
    command = "import sys, attribution_preservation.models.networks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=PROJECT, check=False).returncode == 0
