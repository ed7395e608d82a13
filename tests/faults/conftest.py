"""One undisturbed run for all faults to be compared with."""

import pytest

from tests.conftest import made_once
from tests.faults.harness import Project


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The project after one undisturbed `dvc repro`; not to be changed."""
    folder = made_once(tmp_path_factory, "reference", lambda folder: Project.made(folder / "project"))
    return Project(folder / "project")


@pytest.fixture
def project(reference, tmp_path):
    """A copy of it."""
    return reference.copy(tmp_path / "project")
