"""Something changes between a stop and the next start: nothing that was made before is used."""

import shutil
import signal

import numpy as np
import pytest

from tests.conftest import hashes, write_manifests, write_parameters
from tests.faults.harness import FAULTS, VICTIMS, saves

VICTIM = VICTIMS["teacher"]


def stop_after_one_epoch(project, log):
    """The teacher is killed when its first epoch is done and kept."""
    project.forget(VICTIM)
    ended = project.run(VICTIM, "saved:1", log)
    assert ended.code == -signal.SIGKILL
    assert saves(log, VICTIM) == 1


def parameter(project):
    write_parameters(project.root, FAULTS | {"teacher.optimization.learning_rate": 0.013})


def data_byte(project):
    pixels = np.memmap(project.root / "data/dataset/images.bin", dtype=np.uint8, mode="r+")
    pixels[:3] ^= 255


def library_line(project):
    path = project.root / "attribution_preservation/training/loop.py"
    path.write_text(path.read_text().replace("momentum=optimization.momentum", "momentum=optimization.momentum / 2"))
    write_manifests(project.root)


@pytest.mark.parametrize("change", [parameter, data_byte, library_line])
def test_a_run_after_a_change_picks_nothing_up(reference, project, tmp_path, change):
    (log := tmp_path / "log").mkdir()
    stop_after_one_epoch(project, log)
    change(project)
    assert project.run(VICTIM, log=log).code == 0
    assert saves(log, VICTIM) == 1 + VICTIM.epochs  # both epochs again
    after_change = hashes(project.root, VICTIM.out)
    # As where nothing was ever stopped.
    shutil.rmtree(project.root / ".resume")
    assert project.run(VICTIM).code == 0
    assert hashes(project.root, VICTIM.out) == after_change
    assert after_change != hashes(reference.root, VICTIM.out)


def test_a_run_without_a_change_goes_on(reference, project, tmp_path):
    (log := tmp_path / "log").mkdir()
    stop_after_one_epoch(project, log)
    assert project.run(VICTIM, log=log).code == 0
    assert saves(log, VICTIM) == VICTIM.epochs
    assert hashes(project.root, VICTIM.out) == hashes(reference.root, VICTIM.out)
