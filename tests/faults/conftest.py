"""One undisturbed run for all faults to be compared with."""

import pytest

from tests.faults.harness import Project, undisturbed


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The project after one undisturbed `dvc repro`; not to be changed."""
    return Project(undisturbed(tmp_path_factory))


@pytest.fixture
def project(reference, tmp_path):
    """A copy of it."""
    return reference.copy(tmp_path / "project")
