"""A stage reads nothing that it does not declare: what its process opened is compared with dvc.yaml.

tests/stages/test_graph.py reads the imports in the source; this is what really happened, data files included.
"""

import shutil
from pathlib import Path

import pytest

from attribution_preservation.pipeline.run.code_manifest import read_manifest
from attribution_preservation.pipeline.run.graph import instances
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from tests.conftest import ORDER, PROJECT, SITE, command_of, run_stage

# What every stage may see: the parameters come through a helper of their own, which compares them with dvc.yaml.
ALWAYS = {Path("params.yaml"), Path("dvc.yaml"), Path(".resume"), Path(".")}
# Sources and what stages unpack there: no input of the workflow.
OWN = {"dataset": {Path("data/raw")}}


def undeclared(root: Path, accesses: Path, name: str) -> set[str]:
    """What the stage read and neither declares nor made itself."""
    allowed, packages = set(ALWAYS) | OWN.get(name, set()), set()
    for stage in instances(name):
        allowed |= {*stage.deps, *stage.outs}
        if name != "code":
            listed = read_manifest(Path("data/code", f"{stage.instance}.txt").read_text())
            allowed |= set(map(Path, listed))
    lines = [line.split(" ", 1) for line in (accesses / name).read_text().splitlines()]
    changed = {Path(path) for access, path in lines if access in ("change", "moved")}
    for path in {*allowed, *changed}:
        packages |= set(path.parents)
    surplus = set()
    for access, text in lines:
        path = source(Path(text))
        own = path in changed or {path, *path.parents} & (allowed - {Path(".")})
        # Python lists the folders on the way to a module; an empty __init__.py says nothing.
        on_the_way = access == "list" and path in packages
        empty = path.name == "__init__.py" and not (root / path).stat().st_size
        # What is not there was looked for in vain, by libraries on the way to their own files.
        if access in ("read", "list") and (root / path).exists() and not (own or on_the_way or empty or path in ALWAYS):
            surplus.add(f"{access} {path}")
    return surplus


def source(path: Path) -> Path:
    """The module that a file of byte code was compiled from."""
    return path.parents[1] / f"{path.name.split('.')[0]}.py" if "__pycache__" in path.parts else path


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_reads_what_it_declares(finished, monkeypatch, name):
    root, _ = finished
    monkeypatch.chdir(root)
    log = (root.parent / "accesses" / name).read_text()
    module = command_of(name)[0].removeprefix("stages.")
    assert f"read stages/{module}.py" in log or f"read stages/__pycache__/{module}." in log  # the log is of this stage
    assert undeclared(root, root.parent / "accesses", name) == set()


@pytest.mark.parametrize(
    ("cheat", "access"),
    [
        ("open('reports/results.csv').read()", "read reports/results.csv"),
        (
            "__import__('attribution_preservation.metrics' + '.similarity')",
            "read attribution_preservation/metrics/similarity.py",
        ),
        ("__import__('os').listdir('maps/all/teacher')", "list maps/all/teacher"),
    ],
    ids=["file", "module", "folder"],
)
def test_a_stage_that_cheats_is_found(finished, tmp_path, monkeypatch, cheat, access):
    root, accesses = tmp_path / "project", tmp_path / "accesses"
    shutil.copytree(finished[0], root)
    accesses.mkdir()
    path = root / "stages" / "check.py"
    path.write_text(path.read_text().replace('    """Check the profile."""\n', f'    """Check."""\n    {cheat}\n'))
    done = run_stage(root, "check", PYTHONPATH=str(SITE), FAULT_STAGE="*", FAULT_LOG=str(accesses))
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(root)
    assert access in undeclared(root, accesses, "check")


def test_only_one_module_opens_tensors():
    # The library opens files unseen by Python; that module tells of them.
    users = [path for path in (PROJECT / "attribution_preservation").rglob("*.py") if "safe_open" in path.read_text()]
    assert [path.name for path in users] == ["tensors.py"]


def test_a_parameter_that_is_not_declared_cannot_be_had(finished, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished[0], root)
    graph = read_yaml(root / "dvc.yaml")
    graph["stages"]["report"]["params"].remove("report")
    (root / "dvc.yaml").write_text(format_yaml(graph))
    failed = run_stage(root, "report")
    assert failed.returncode == 2
    assert "stage report reads the parameter report without declaring it under params" in failed.stderr
