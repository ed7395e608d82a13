"""The networks as published, and their files."""

import hashlib
import http.server
import threading

import pytest
import torch
import torchvision
import yaml
from safetensors.torch import save_file

from attribution_preservation.errors import UserError
from attribution_preservation.metrics.size import (
    multiply_accumulates,
    nonzero_parameters,
    parameters,
    weight_sparsity,
)
from attribution_preservation.models.architectures import ARCHITECTURES, kept_filters, layer_names, wider_than
from attribution_preservation.models.files import load_network, save_network
from attribution_preservation.models.pretrained import imagenet_url, load_imagenet_trunk
from attribution_preservation.models.resnet import ResNet34
from attribution_preservation.models.vgg import build
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
    size = yaml.safe_load((PROJECT / "params" / "digits.yaml").read_text())["input"]["size"]
    assert build("vgg6_bn", 1, classes=10, input_size=size, dropout=0.5).map_size >= 7


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_the_last_layer_of_every_trunk_is_a_max_pool(architecture):
    network = build(architecture, 1, classes=2, input_size=32, dropout=0.0).eval()
    images = torch.randn(1, 3, 32, 32)
    activation = network.last_activation(images)
    assert activation.min() >= 0
    torch.testing.assert_close(network.logits_from_activation(activation), network(images))


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
    loaded, found = load_network(tmp_path / "a.safetensors")
    assert found == identity
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
    assert weight_sparsity(network) == pytest.approx(54 / (108 + 216))


def test_operations_are_counted_as_by_hand(network):
    # Convolutions: 4 filters of 3*9 on 8 x 8, 6 of 4*9 on 4 x 4; the linear layer 24 * 3.
    image = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    assert multiply_accumulates(network, image) == 4 * 27 * 64 + 6 * 36 * 16 + 72


def test_layers_bear_the_names_that_people_use():
    assert layer_names((8, "M", 16, 16, "M")) == ["conv1", "pool1", "conv2", "conv3", "pool2"]
    network = build("vgg16_bn", 8, classes=2, input_size=32, dropout=0.0).eval()
    images = torch.randn(1, 3, 32, 32)
    features = network.features(images, ["conv1", "pool2"])
    assert list(features) == ["conv1", "pool2", "pool5"]
    torch.testing.assert_close(features["conv1"], network.trunk[:3](images))
    assert features["pool2"].shape == (1, 16, 8, 8)
    torch.testing.assert_close(features["pool5"], network.trunk(images))


@pytest.mark.parametrize(("filters", "rate", "kept"), [(64, 0.7, 19), (10, 0.9, 1), (10, 0.91, 0), (512, 0.7, 153)])
def test_kept_filters_are_counted_in_decimals(filters, rate, kept):
    assert kept_filters(filters, rate) == kept  # in binary, 10 * (1 - 0.9) is below 1


def test_wider_is_wider_in_any_layer():
    assert wider_than((8, "M", 16), (8, "M", 16)) is None
    assert wider_than((8, "M", 17), (8, "M", 16)) == "conv2 has 17 channels against 16"
    assert wider_than((8, 8, "M", 32), (8, "M", 16)) == "32 channels against 16"


def test_resnet34_is_torchvisions():
    ours = ResNet34(None, classes=1000, input_size=64)
    theirs = torchvision.models.resnet34(weights=None)
    state = theirs.state_dict()
    ours.trunk.load_state_dict({name: t for name, t in state.items() if not name.startswith("fc.")})
    ours.head.linear.load_state_dict(
        {name.removeprefix("fc."): t for name, t in state.items() if name.startswith("fc")}
    )
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
    assert parameters(ours) == 21_797_672  # torchvision's documentation
    assert ours.last_layer == ours.explained_layer == "layer4"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """torchvision's VGG11 with random weights on a server, in a file named by its hash as torchvision's are."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    theirs = torchvision.models.vgg11_bn(weights=None).features
    state = {f"features.{name}": tensor for name, tensor in theirs.state_dict().items()}
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save(state, folder / "weights.pth")
    content = (folder / "weights.pth").read_bytes()
    right = folder / f"vgg11_bn-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / "weights.pth").rename(right)
    (folder / "vgg11_bn-00000000.pth").write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", right.name, theirs
    server.shutdown()
    server.server_close()


def test_imagenet_weights_are_downloaded_verified_and_loaded(weights):
    address, name, theirs = weights
    network = build("vgg11_bn", 1, classes=20, input_size=64, dropout=0.5)
    load_imagenet_trunk(network, f"{address}/{name}")
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network.eval().trunk(images), theirs.eval()(images))


@pytest.mark.parametrize("name", ["vgg11_bn-00000000.pth", "nothing-12345678.pth"])
def test_weights_with_the_wrong_hash_or_none_are_refused(weights, name):
    network = build("vgg11_bn", 1, classes=20, input_size=64, dropout=0.5)
    with pytest.raises(UserError, match=r"teacher\.init: ImageNet weights from .* cannot be used"):
        load_imagenet_trunk(network, f"{weights[0]}/{name}")


def test_weights_for_other_widths_are_refused(weights):
    with pytest.raises(UserError, match="cannot be used"):
        load_imagenet_trunk(build("vgg11_bn", 2, classes=20, input_size=64, dropout=0.5), f"{weights[0]}/{weights[1]}")


def test_the_address_of_the_published_weights():
    assert imagenet_url("vgg16_bn").endswith("vgg16_bn-6c64b313.pth")
    with pytest.raises(UserError, match="use init: scratch"):
        imagenet_url("vgg6_bn")
