"""The graph may not lie: a stage's declared deps cover every module of the project that it imports."""

import ast
from pathlib import Path

import pytest

from attribution_preservation.pipeline.run.stage import instances
from attribution_preservation.pipeline.run.yaml_text import read_yaml
from tests.conftest import PROJECT, write_parameters

GRAPH = read_yaml(PROJECT / "dvc.yaml")
STAGES = list(GRAPH["stages"])
OURS = ("stages", "attribution_preservation")
# What a stage loads by the names in params.yaml, whatever they are.
LOADED = {
    **dict.fromkeys(("attribute", "probe"), "attribution_preservation/attribution/methods.py"),
    **dict.fromkeys(
        ("prune_weights", "prune_channels", "distill", "figures"), "attribution_preservation/matching/losses.py"
    ),
}


def module_file(module: str) -> Path | None:
    path = PROJECT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def imported(path: Path) -> set[Path]:
    """Files of the project that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {module_file(name) for name in names if name.split(".")[0] in OURS}
    return found - {None}


def closure(path: Path) -> set[Path]:
    done, waiting = set(), {path}
    while waiting:
        done.add(current := waiting.pop())
        waiting |= imported(current) - done
    return {found.relative_to(PROJECT) for found in done}


def of_stage(path: Path) -> set[Path]:
    """Files of the project that a stage imports or loads."""
    loaded = LOADED.get(path.stem)
    return closure(path) | (closure(PROJECT / loaded) if loaded else set())


def uncovered(path: Path, deps: list[str]) -> set[Path]:
    declared = {Path(dep) for dep in deps}
    return {
        found
        for found in of_stage(path)
        if not declared & {found, *found.parents} and (PROJECT / found).stat().st_size > 0
    }


@pytest.mark.parametrize("name", STAGES)
def test_deps_cover_every_import(name):
    assert uncovered(PROJECT / "stages" / f"{name}.py", GRAPH["stages"][name]["deps"]) == set()


def test_an_import_that_is_not_declared_is_found(tmp_path):
    cheat = tmp_path / "cheat.py"
    cheat.write_text("def f():\n    from attribution_preservation.matching.swa import swa_map\n    return swa_map\n")
    found = imported(cheat)
    assert found == {PROJECT / "attribution_preservation/matching/swa.py"}
    deps = [dep for dep in GRAPH["stages"]["prune_weights"]["deps"] if not dep.endswith("matching")]
    assert Path("attribution_preservation/matching/swa.py") in uncovered(PROJECT / "stages/prune_weights.py", deps)


@pytest.mark.parametrize("name", STAGES)
def test_no_dep_on_code_is_superfluous(name):
    needed = of_stage(PROJECT / "stages" / f"{name}.py")
    for dep in map(Path, GRAPH["stages"][name]["deps"]):
        if dep.parts[0] in OURS:
            assert any(dep in (file, *file.parents) for file in needed), dep


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_no_stage_knows_the_whole_schema(name):
    # Else every edit of any section's schema would train everything again.
    assert Path("attribution_preservation/pipeline/schema/profile.py") not in closure(PROJECT / "stages" / f"{name}.py")


def test_every_stage_waits_for_the_check():
    for name in STAGES:
        assert name == "check" or "data/check.txt" in GRAPH["stages"][name]["deps"]


def test_a_stage_has_one_name_everywhere():
    sections = read_yaml(PROJECT / "params.yaml")
    for name in STAGES:
        assert (PROJECT / "stages" / f"{name}.py").exists()
        assert GRAPH["stages"][name]["cmd"].startswith(f"python -m stages.{name}")
        # check reads every section; dataset's is called data, after the files that it describes.
        assert name in sections or name in ("check", "dataset")


def test_stages_are_used_by_nobody():
    for path in (PROJECT / "attribution_preservation").rglob("*.py"):
        assert not any(PROJECT / "stages" in found.parents for found in imported(path)), path


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("matching", {"training", "compression", "attribution", "metrics", "reporting"}),
        ("compression", {"training", "attribution", "metrics", "reporting"}),
        ("training", {"attribution", "metrics", "reporting"}),
        ("metrics", {"models", "training", "matching", "compression", "reporting"}),
        ("reporting", {"models", "training", "matching", "compression"}),
        ("models", {"training", "matching", "compression", "attribution", "metrics", "reporting"}),
        ("data", {"models", "training", "matching", "compression", "attribution", "metrics", "reporting"}),
    ],
)
def test_data_flows_one_way_through_the_rooms(room, forbidden):
    for path in (PROJECT / "attribution_preservation" / room).rglob("*.py"):
        rooms = {found.relative_to(PROJECT / "attribution_preservation").parts[0] for found in imported(path)}
        assert not rooms & forbidden, path


@pytest.mark.parametrize(("profile", "least", "most"), [("digits", 30, 45), ("smoke", 1, 12)])
def test_a_profile_has_no_more_instances_than_its_overhead_allows(tmp_path, monkeypatch, profile, least, most):
    count = sum(len(list(found)) for found in every_instance(tmp_path, monkeypatch, profile).values())
    assert least <= count <= most


@pytest.mark.parametrize("profile", ["digits", "smoke", "voc2012", "voc_subset"])
def test_every_profile_takes_the_whole_path(tmp_path, monkeypatch, profile):
    found = every_instance(tmp_path, monkeypatch, profile)
    # Starting two more stages takes longer than what smoke would do in them.
    left_out = {"prune_channels", "scratch"} if profile == "smoke" else set()
    assert {name for name, instances in found.items() if not instances} == left_out
    # Whatever a training stage leaves lies in a batch of attribute and evaluate.
    batches = [stage.out.relative_to("maps") for stage in found["attribute"]]
    for name in ("teacher", "prune_weights", "prune_channels", "distill", "scratch"):
        for stage in found[name]:
            out = stage.out.relative_to("models")
            assert any(batch in (out, *out.parents) for batch in batches), out


def every_instance(root, monkeypatch, profile):
    write_parameters(root, {}, profile)
    (root / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    monkeypatch.chdir(root)
    return {name: list(instances(name)) for name in STAGES}
