"""A small run by DVC, for tests that ask what DVC does with a run."""

import shutil

import pytest

from tests.conftest import dvc, made_once, write_parameters
from tests.faults.harness import FAULTS, undisturbed

# DVC draws a method where every compression was trained with it.
SMALL = FAULTS | {
    "profile": "small", "evaluate.methods": ["sswa"], "roar.methods": ["sswa"], "report.iterations": [2],
}  # fmt: skip


@pytest.fixture(scope="session")
def small_by_dvc(tmp_path_factory):
    """The profile of the tests of faults, with two compressions, after `dvc repro`; not to be changed."""

    def make(folder):
        # These tests stop after the stage attribute.
        shutil.copytree(undisturbed(tmp_path_factory), folder / "project")
        write_parameters(folder / "project", SMALL)
        done = dvc(folder / "project", "repro")
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "small", make) / "project"
