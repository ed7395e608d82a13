"""The disk is full, closed to the user, or loses a file: one line says so, and nothing good is lost."""

import os
import shutil

import pytest

from tests.conftest import hashes
from tests.faults.harness import VICTIMS, Project, Victim, changes_in

FOLDERS = ("data/dataset", "models", "maps", "scores", "probes", "roar", "analysis", "reports")


@pytest.fixture
def whole(finished, tmp_path):
    """A project with every output, in which every stage has everything to do."""
    shutil.copytree(finished[0], tmp_path / "project", ignore=shutil.ignore_patterns(".resume"))
    return Project(tmp_path / "project")


# Pictures and their index; states and networks; maps; pair by pair scores and CSV; every form of table.
@pytest.mark.parametrize("name", ["dataset", "teacher", "attribute", "evaluate", "report"])
def test_a_full_disk_is_one_line_and_leaves_what_was_good(finished, whole, name):
    before = hashes(whole.root, *FOLDERS)
    half = changes_in(finished[0].parent / "accesses")[name] // 2
    ended = whole.run(Victim(name, {}, ""), f"full:{half}")
    assert ended.in_one_line, ended.err
    assert f"{name}: error: no space left for writing" in ended.err.splitlines()[-1]
    assert hashes(whole.root, *FOLDERS) == before
    assert not list(whole.leftovers())


def test_a_full_disk_is_survived_with_the_same_hashes(reference, project):
    victim = VICTIMS["distill"]
    project.forget(victim)
    full = project.repro(f"full:{reference.changes['distill'] * 2 // 3}", victim)
    assert full.code != 0
    assert "distill: error: no space left for writing" in full.err
    assert project.repro().code == 0
    assert project.hashes() == reference.hashes()


def test_a_folder_that_may_not_be_written_is_one_line(whole):
    before = hashes(whole.root, *FOLDERS)
    for folder in (whole.root, whole.root / "data"):
        folder.chmod(0o555)
    # root may write anywhere, so it becomes somebody else where the stage begins to.
    fault = "user:1" if os.geteuid() == 0 else "none:"
    ended = whole.run(Victim("dataset", {}, ""), fault)
    for folder in (whole.root, whole.root / "data"):
        folder.chmod(0o755)
    assert ended.in_one_line, ended.err
    assert "Permission denied" in ended.err
    assert "work in a folder of your own" in ended.err
    assert hashes(whole.root, *FOLDERS) == before


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("dataset", "data/raw/digits/Annotations/train_00001.xml"),
        ("teacher", "data/dataset/images.bin"),
        ("prune_channels", "models/all/teacher/vgg6_bn/seed-0/network.safetensors"),
        ("report", "scores/all/teacher/results.csv"),
    ],
)
def test_an_input_that_goes_while_it_is_read_is_one_line(whole, name, path):
    ended = whole.run(Victim(name, {}, ""), f"remove:{path}")
    assert ended.in_one_line, ended.err
    assert path.rsplit("/", 1)[1] in ended.err.splitlines()[-1]
    assert not list(whole.leftovers())
