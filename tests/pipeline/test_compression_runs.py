"""Which runs one instance of a compressing stage has."""

from pathlib import Path

import pytest

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run import compression_runs as module
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT, write_parameters


@pytest.fixture
def stage(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    monkeypatch.chdir(tmp_path)

    def one(entry, changes=None):
        write_parameters(tmp_path, changes or {})
        (instance,) = instances("prune_channels", {"matching": entry})
        return instance

    return one


def compression_runs(stage):
    return module.compression_runs(stage, "vgg6_bn", matched=True)


def alone(name, entry):
    """The parameters with which one method is an entry of its own, and the only one."""
    return {f"matching.{name}": entry, "prune_channels.matchings": [name]}


def test_a_method_is_trained_with_every_seed_from_its_own_teacher(stage):
    runs, matchings = compression_runs(
        stage("sswa", alone("sswa", {"maps": "swa", "dropped_share": 0.3, "strength": 50.0}))
    )
    assert [(run.identity.method, run.identity.seed) for run in runs] == [("sswa", 0), ("sswa", 1), ("sswa", 2)]
    assert runs[2].teacher == Path("models/all/teacher/vgg6_bn/seed-2/network.safetensors")
    assert matchings["sswa"].dropped_share == 0.3


def test_a_sweep_names_its_methods_by_value_and_takes_the_first_seeds(stage):
    runs, matchings = compression_runs(stage("swa_strength", {"matching.swa_strength.first_seeds": 1}))
    assert [run.identity.method for run in runs] == [f"swa_strength_{value}" for value in (5, 15, 150, 500)]
    assert {run.identity.seed for run in runs} == {0}
    assert [matching.strength for matching in matchings.values()] == [5, 15, 150, 500]
    assert {matching.maps for matching in matchings.values()} == {"swa"}


def test_a_sweep_of_layers_matches_one_layer_at_a_time(stage):
    entry = {"sweep": "layers", "values": ["pool1", "conv5"], "of": {"maps": "swa", "strength": 5.0}, "first_seeds": 2}
    runs, matchings = compression_runs(stage("swa_layer", {"matching.swa_layer": entry}))
    assert {name: matching.layers for name, matching in matchings.items()} == {
        "swa_layer_pool1": ["pool1"],
        "swa_layer_conv5": ["conv5"],
    }
    assert len(runs) == 4


@pytest.mark.parametrize(("seeds", "expected"), [(None, [0, 1, 2]), (2, [0, 1])])
def test_a_group_takes_as_many_seeds_as_it_says(stage, seeds, expected):
    section = read_yaml(PROJECT / "params" / "digits.yaml")["matching"]
    section["layer_maps"]["first_seeds"] = seeds
    runs, matchings = compression_runs(stage("layer_maps", {"matching": section}))
    assert [run.identity.seed for run in runs if run.identity.method == "neuron"] == expected
    assert len(runs) == len(matchings) * len(expected)
    assert len({run.below for run in runs}) == len(runs)
    # What tells one run's resume state from another's, beside its seed.
    assert len({str(run.settings) for run in runs}) == len(matchings)


def test_a_mistake_in_an_entry_is_one_line(stage):
    with pytest.raises(UserError, match=r"params.yaml: matching.swa.strength: .* \(it is 'high'\)"):
        compression_runs(stage("swa", alone("swa", {"maps": "swa", "strength": "high"})))
