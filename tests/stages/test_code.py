"""What a change of code makes stale: its users alone, and of a new entry nothing."""

import contextlib
import shutil
from pathlib import Path

import pytest

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.code_manifest import check_manifest, manifest_of, read_manifest
from attribution_preservation.pipeline.run.graph import every_instance
from tests.conftest import dvc, run_stage

LIBRARY = "attribution_preservation"


@pytest.fixture
def made(finished_by_dvc, tmp_path):
    """A finished run of the smallest profile, with DVC's record of it."""
    root = tmp_path / "project"
    shutil.copytree(finished_by_dvc, root, ignore=shutil.ignore_patterns("tmp"), symlinks=True)
    return root


def stale(root):
    """What `dvc repro` would run after the stage code, which finds out."""
    first = dvc(root, "repro", "code")
    assert first.returncode == 0, first.stderr
    done = dvc(root, "repro", "--dry")
    assert done.returncode == 0, done.stderr
    return [line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")]


def appended(path, text="# one line more\n"):
    path.write_text(path.read_text() + text)


def names(instances):
    return {name.split("@")[0] for name in instances}


def test_a_new_entry_makes_no_finished_instance_stale(made):
    method, methods = made / LIBRARY / "attribution" / "ours.py", made / LIBRARY / "attribution" / "methods.py"
    text = (made / LIBRARY / "attribution" / "gradient_input.py").read_text()
    method.write_text(text.replace("GRADIENT_INPUT = ", "OURS = ").replace('"gradient_input"', '"ours"'))
    listed = methods.read_text().replace("    RISE,\n", "    RISE,\n    OURS,\n")
    methods.write_text(listed.replace("\nMETHODS", f"\nfrom {LIBRARY}.attribution.ours import OURS\n\nMETHODS"))
    network, networks = made / LIBRARY / "models" / "vgg5_bn.py", made / LIBRARY / "models" / "networks.py"
    text = (made / LIBRARY / "models" / "vgg6_bn.py").read_text()
    network.write_text(text.replace("VGG6_BN = ", "VGG5_BN = ").replace('"vgg6_bn"', '"vgg5_bn"'))
    listed = networks.read_text().replace("    RESNET34,\n", "    RESNET34,\n    VGG5_BN,\n")
    networks.write_text(listed.replace("\nNETWORKS", f"\nfrom {LIBRARY}.models.vgg5_bn import VGG5_BN\n\nNETWORKS"))
    loss = made / LIBRARY / "matching" / "mine.py"
    loss.write_text((made / LIBRARY / "matching" / "ewa.py").read_text().replace("EWA = ", "MINE = "))
    # The check reads the lists, and writes what it wrote: nothing else follows.
    assert stale(made)[:1] == ["check"]
    done = dvc(made, "repro")
    assert done.returncode == 0, done.stderr
    assert "Running stage 'check'" in done.stdout
    assert done.stdout.count("Running stage") == 1


@pytest.mark.parametrize(
    ("module", "users"),
    [
        # In the smallest profile RISE explains, and nobody trains EWA.
        (f"{LIBRARY}/attribution/rise.py", {"check", "attribute", "probe"}),
        (f"{LIBRARY}/matching/ewa.py", {"check"}),
        # Who builds a VGG6-BN; the others read the shape from a network's file.
        (f"{LIBRARY}/models/vgg6_bn.py", {"check", "teacher", "distill", "scratch", "roar"}),
        (f"{LIBRARY}/models/resnet8.py", {"check"}),
        (f"{LIBRARY}/metrics/significance.py", {"probe", "analysis", "figures", "report"}),
        ("stages/explorer.py", {"report"}),
    ],
)
def test_a_changed_module_has_its_users_in_the_manifests_and_no_others(made, module, users):
    before = {path.name: path.read_text() for path in (made / "data/code").iterdir()}
    appended(made / module)
    done = dvc(made, "repro", "code")
    assert done.returncode == 0, done.stderr
    changed = {name for name, text in before.items() if (made / "data/code" / name).read_text() != text}
    assert {name.removesuffix(".txt").split("@")[0] for name in changed} == users


def test_after_a_change_of_one_module_dvc_runs_its_users_and_what_reads_from_them(made):
    appended(made / "stages/explorer.py")
    assert stale(made) == ["report"]


def test_a_stage_refuses_code_that_its_manifest_does_not_know(project):
    done = run_stage(project, "check")
    assert done.returncode == 0, done.stderr
    with contextlib.chdir(project):
        check = every_instance()["check"]
        check_manifest(check)
        appended(Path(LIBRARY, "matching", "swa.py"))
        with pytest.raises(UserError, match=r"matching/swa\.py is not as data/code/check\.txt says; run python -m"):
            check_manifest(check)
        Path("data/code/check.txt").unlink()
        with pytest.raises(UserError, match=r"^data/code/check\.txt is missing; run python -m stages\.code first"):
            check_manifest(check)


def test_a_stage_refuses_an_entry_that_its_manifest_does_not_know(project):
    run_stage(project, "check")
    with contextlib.chdir(project):
        text = Path("params.yaml").read_text()
        Path("params.yaml").write_text(text.replace("maps: rise", "maps: meaningful_perturbation"))
        attribute = next(stage for name, stage in every_instance().items() if name.startswith("attribute@"))
        with pytest.raises(UserError, match=r"attribution/meaningful_perturbation\.py is not as data/code/attribute@"):
            check_manifest(attribute)


def test_a_manifest_is_its_files_and_their_hashes(project):
    with contextlib.chdir(project):
        check = every_instance()["check"]
        before = read_manifest(manifest_of(check))
        appended(Path(LIBRARY, "errors.py"))
        after = read_manifest(manifest_of(check))
    changed = {path for path in before if before[path] != after[path]}
    assert before.keys() == after.keys()
    assert changed == {f"{LIBRARY}/errors.py"}
