"""A stage or its DVC is killed: the next start ends with the hashes of a run that nothing disturbed."""

import signal

import numpy as np
import pytest

from tests.conftest import hashes, write_parameters
from tests.faults.harness import FAULTS, VICTIMS, saves


@pytest.mark.parametrize("name", VICTIMS)
def test_a_stage_killed_twice_ends_with_the_same_hashes(reference, project, tmp_path, name):
    victim, draw = VICTIMS[name], np.random.default_rng(list(VICTIMS).index(name))
    (log := tmp_path / "log").mkdir()
    project.forget(victim)
    killed = 0
    # The second start has less to do, and may come to its end.
    for latest in (reference.changes[name], reference.changes[name] // 2):
        ended = project.run(victim, f"kill:{draw.integers(1, latest + 1)}", log)
        assert ended.code in (-signal.SIGKILL, 0), ended.err
        killed += ended.code != 0
    assert killed
    done = project.repro(victim=victim, log=log)
    assert done.code == 0, done.err
    assert project.hashes() == reference.hashes()
    assert not list(project.leftovers())
    # This profile saves a state after every epoch; one that was killed over its saving may be trained twice.
    assert not victim.epochs or victim.epochs <= saves(log, victim) <= victim.epochs + killed


@pytest.mark.parametrize("name", ["teacher", "prune_weights"])  # all compressions run one module
def test_a_stage_killed_before_its_first_state_begins_anew_with_the_same_bytes(reference, project, name):
    victim = VICTIMS[name]
    # As where an epoch takes seconds: a state is half a minute away.
    write_parameters(project.root, FAULTS | {"runtime.checkpoint_seconds": 3600})
    project.forget(victim)
    ended = project.run(victim, f"kill:{reference.changes[name] // 2}")
    assert ended.code == -signal.SIGKILL, ended.err
    assert not list((project.root / ".resume").rglob("state.safetensors"))
    done = project.run(victim)
    assert done.code == 0, done.err
    assert hashes(project.root, victim.out) == hashes(reference.root, victim.out)
    assert not list(project.leftovers())


@pytest.mark.parametrize("name", ["teacher", "prune_weights"])
def test_a_stage_killed_in_the_middle_of_writing_its_state_ends_with_the_same_hashes(reference, project, name):
    victim = VICTIMS[name]
    network = max(path.stat().st_size for path in (project.root / victim.out).rglob("*.safetensors"))
    project.forget(victim)
    # The state holds the momentum of every weight besides.
    ended = project.run(victim, f"cut:{network * 3 // 2}")
    assert ended.code == -signal.SIGXFSZ, ended.err
    assert [path.name for path in project.leftovers() if path.name != "holder"] == [".state.safetensors.partial"]
    assert project.repro().code == 0
    assert project.hashes() == reference.hashes()
    assert not list(project.leftovers())


def test_one_of_several_processes_killed_is_one_line_and_a_new_start_ends_with_the_same_hashes(reference, project):
    victim = VICTIMS["attribute"]
    write_parameters(project.root, FAULTS | {"runtime.jobs": 2})
    project.forget(victim)
    ended = project.run(victim, "another:15")
    assert ended.in_one_line, ended.err
    assert "attribute: error: a process of this stage was ended from outside" in ended.err
    assert not (project.root / victim.out).exists()
    write_parameters(project.root, FAULTS)
    assert project.repro().code == 0
    assert project.hashes() == reference.hashes()
    assert not list(project.leftovers())


# 0: before it has imported anything
@pytest.mark.parametrize("change", [0, 6])
def test_a_stage_whose_dvc_is_killed_stops_by_itself(reference, project, change):
    victim = VICTIMS["prune_weights"]
    project.forget(victim)
    killed = project.repro(f"orphan:{change}", victim)  # returns when the stage has closed its output, too
    assert killed.code == -signal.SIGKILL
    assert "prune_weights: error: dvc has ended, so this stage stops" in killed.err
    assert not (project.root / victim.out).exists()
    assert project.repro().code == 0
    assert project.hashes() == reference.hashes()
    assert not list(project.leftovers())
