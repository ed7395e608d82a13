"""torchvision's weights from a server like its own, as teachers and as the start of one."""

import hashlib
import http.server
import threading

import pytest
import torch
import torchvision

from attribution_preservation.errors import UserError
from attribution_preservation.models.build import build
from attribution_preservation.models.pretrained import imagenet_url, load_imagenet


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a folder; gives its address and a function that puts a network's weights there, as torchvision does."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{serving.server_port}"

    def put(network):
        torch.save(network.state_dict(), folder / "weights.pth")
        digest = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()
        name = f"network-{digest[:8]}.pth"
        (folder / "weights.pth").rename(folder / name)
        return f"{address}/{name}", f"sha256:{digest}"

    yield put
    serving.shutdown()
    serving.server_close()


def theirs_of(name):
    network = getattr(torchvision.models, name)(weights=None).eval()
    for module in network.modules():  # statistics that are not trivial
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def test_the_trunk_of_a_voc_teacher_is_torchvisions_and_its_head_its_own(server):
    theirs = theirs_of("vgg11_bn")
    url, checksum = server(theirs)
    network = build("vgg11_bn", 1, classes=20, input_size=64, dropout=0.5).eval()
    head = network.head.linear.weight.clone()
    load_imagenet(network, url, checksum, head=False)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network.trunk(images), theirs.features(images))
    assert torch.equal(network.head.linear.weight, head)


def test_a_whole_residual_network_gives_torchvisions_logits(server):
    theirs = theirs_of("resnet34")
    url, checksum = server(theirs)
    network = build("resnet34", 1, classes=1000, input_size=64, dropout=0.0).eval()
    load_imagenet(network, url, checksum[:15], head=True)  # the eight digits that torchvision publishes
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(images), theirs(images))


def test_a_classifier_with_hidden_layers_finds_its_weights_by_name(server):
    network = build("vgg11_bn", 1, classes=5, input_size=64, dropout=0.5, hidden=(6, 7)).eval()
    theirs = torchvision.models.vgg11_bn(weights=None, num_classes=5)
    theirs.avgpool, theirs.classifier = torch.nn.Identity(), torch.nn.Sequential(
        torch.nn.Linear(512 * 4, 6), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(6, 7), torch.nn.ReLU(),
        torch.nn.Dropout(), torch.nn.Linear(7, 5),
    )  # fmt: skip
    url, checksum = server(theirs.eval())
    load_imagenet(network, url, checksum, head=True)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(images), theirs(images))


@pytest.fixture
def small(server):
    """A file that is some network's, and its checksum."""
    return server(torch.nn.Linear(2, 2))


def trunk():
    return build("vgg11_bn", 16, classes=2, input_size=32, dropout=0.0)


def test_another_file_than_the_parameters_name_is_refused(small):
    url, checksum = small
    wrong = f"sha256:{'0' * 8}"
    with pytest.raises(UserError, match=f"cannot be used: the sha256 of .* begins with {checksum[7:15]}, not 00000000"):
        load_imagenet(trunk(), url, wrong, head=False)


def test_a_file_from_an_earlier_download_is_verified_too(small):
    url, checksum = small
    with pytest.raises(UserError):
        load_imagenet(trunk(), url, f"sha256:{'0' * 64}", head=False)
    with pytest.raises(UserError, match=r"Missing key|Error\(s\) in loading"):
        load_imagenet(trunk(), url, checksum, head=False)  # the right file, of another network


def test_a_server_that_has_no_such_file_is_one_line(small):
    url, checksum = small
    with pytest.raises(UserError, match=r"teacher\.networks: ImageNet weights from .* cannot be used") as refused:
        load_imagenet(trunk(), url.replace("network-", "nothing-"), checksum, head=False)
    assert "\n" not in str(refused.value)


def test_the_addresses_of_the_published_weights():
    assert imagenet_url("vgg16_bn").endswith("vgg16_bn-6c64b313.pth")
    assert imagenet_url("resnet34").endswith("resnet34-b627a593.pth")
    with pytest.raises(UserError, match="use init: scratch"):
        imagenet_url("vgg6_bn")
