"""Every network comes back from its file, and a file that claims nonsense is refused."""

import pytest
import torch
from safetensors import safe_open

from attribution_preservation.compression.channel_pruning import prune_channels
from attribution_preservation.errors import UserError
from attribution_preservation.models.build import build
from attribution_preservation.models.network_files import load_network, save_network
from attribution_preservation.storage.tensors import write_tensors

NETWORKS = {
    "vgg": lambda: build("vgg6_bn", 8, classes=3, input_size=32, dropout=0.5),
    "hidden": lambda: build("vgg11_bn", 16, classes=3, input_size=64, dropout=0.5, hidden=(24, 16)),
    "resnet8": lambda: build("resnet8", 2, classes=3, input_size=32, dropout=0.2),
    "resnet34": lambda: build("resnet34", 16, classes=3, input_size=32, dropout=0.0),
}


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_loads_from_its_file_alone(name, rate, tmp_path):
    network = NETWORKS[name]()
    prune_channels(network, {"all": rate})
    network(torch.randn(2, 3, network.input_size, network.input_size))  # statistics of its own
    save_network(network, tmp_path / "a.safetensors", {"seed": 3})
    loaded, identity = load_network(tmp_path / "a.safetensors")
    images = torch.randn(2, 3, network.input_size, network.input_size)
    assert torch.equal(loaded(images), network.eval()(images))
    assert identity == {"seed": 3}
    assert loaded.structure() == network.structure()
    assert loaded.head.dropout == network.head.dropout
    save_network(loaded, tmp_path / "b.safetensors", {"seed": 3})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


NONSENSE = {
    "hidden": [
        {"hidden": [10**12, 10**12]}, {"hidden": 4}, {"hidden": ["wide"]}, {"hidden": [-4]}, {"hidden": [[4]]},
        {"hidden": []}, {"hidden": "ab"}, {"input_size": -64},
    ],
    "resnet8": [
        {"stem": 10**9}, {"stem": "wide"}, {"stages": []}, {"stages": 3}, {"stages": [3]}, {"stages": "ab"},
        {"stages": [{"width": 4, "stride": 1}]}, {"stages": [{"width": 4, "stride": 1, "inner": []}]},
        {"stages": [{"width": 4, "stride": 0, "inner": [4]}]}, {"stages": [{"width": -4, "stride": 1, "inner": [4]}]},
        {"stages": [{"width": 4, "stride": 1, "inner": [10**12]}]}, {"stages": [{"width": 4, "stride": 1, "inner": 4}]},
        {"stages": [{"width": 4, "stride": 1, "inner": [4], "colour": "red"}]}, {"input_size": 0}, {"hidden": [4]},
        {"pooled": True, "input_size": 1}, {"family": "vgg"}, {"layers": [4, "M"]},
        {"stages": [{"width": 8, "stride": 10**400, "inner": [8]}]},
        {"stages": [{"width": 8, "stride": 1.5, "inner": [8]}, {"width": 16, "stride": 2, "inner": [16]}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "change"), [(name, one) for name, changes in NONSENSE.items() for one in changes])
def test_a_structure_that_makes_no_sense_is_refused_in_a_line(name, change, tmp_path):
    network = NETWORKS[name]()
    path = tmp_path / "a.safetensors"
    write_tensors(path, network.state_dict(), {"structure": network.structure() | change, "identity": {}})
    with pytest.raises(UserError, match=r"a\.safetensors is not a network file of this project") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_a_missing_part_of_a_structure_is_refused(tmp_path):
    network = NETWORKS["resnet8"]()
    for part in network.structure():
        structure = {name: value for name, value in network.structure().items() if name != part}
        write_tensors(tmp_path / "a.safetensors", network.state_dict(), {"structure": structure, "identity": {}})
        with pytest.raises(UserError, match="is not a network file"):
            load_network(tmp_path / "a.safetensors")


def test_a_structure_is_written_as_plain_data(tmp_path):
    save_network(NETWORKS["resnet8"](), tmp_path / "a.safetensors", {})
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert (
            '"stages": [{"width": 8, "stride": 1, "inner": [8]}, {"width": 16, "stride": 2, "inner": [16]}'
            in file.metadata()["content"]
        )
