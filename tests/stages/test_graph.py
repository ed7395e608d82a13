"""The graph may not lie: a stage's declared deps cover every module of the project that it imports."""

import ast
import contextlib
from pathlib import Path

import pytest

from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.pipeline.run.code_manifest import manifest_of, read_manifest
from attribution_preservation.pipeline.run.stage import every_instance, instances
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT, write_parameters

GRAPH = read_yaml(PROJECT / "dvc.yaml")
STAGES = list(GRAPH["stages"])
OURS = ("stages", "attribution_preservation")


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


@pytest.fixture(scope="module")
def manifests():
    """Of every instance of the committed profile what its manifest lists, as the stage code would write it now."""
    with contextlib.chdir(PROJECT):
        return {
            name: set(read_manifest(manifest_of(stage))) for name, stage in every_instance().items() if name != "code"
        }


def of_stage(manifests, name):
    return [listed for instance, listed in manifests.items() if instance.split("@")[0] == name]


OTHERS = [name for name in STAGES if name != "code"]


@pytest.mark.parametrize("name", OTHERS)
def test_a_manifest_lists_every_import(manifests, name):
    needed = {str(found) for found in closure(PROJECT / "stages" / f"{name}.py") if (PROJECT / found).stat().st_size}
    for listed in of_stage(manifests, name):
        assert needed - listed == set()


@pytest.mark.parametrize("name", OTHERS)
def test_a_manifest_lists_nothing_else_but_entries_and_files_beside_modules(manifests, name):
    needed = closure(PROJECT / "stages" / f"{name}.py")
    for listed in of_stage(manifests, name):
        more = {Path(path) for path in listed} - needed
        entries = {path for path in more if path.parent.name in ("attribution", "matching")}
        of_entries = {found for path in entries for found in closure(PROJECT / path)}
        assert {path for path in more - of_entries if path.suffix == ".py"} == set()


def test_of_the_entries_an_instance_has_those_that_its_parameters_name(manifests):
    def of(folder, instance):
        return {Path(path).stem for path in manifests[instance] if Path(path).parent.name == folder}

    def losses(instance):
        return of("matching", instance) & set(LOSSES)

    assert losses("prune_weights@iterative-paper-all") == {"none", "ewa", "swa"}
    # Gradient x activation takes its settings and its draw from SWA.
    assert losses("prune_channels@rate_70-layer_maps-all") == {"neuron", "random_weights", "swa"}
    assert losses("teacher@vgg6_bn-all") == losses("attribute@distill-all") == set()
    methods = of("attribution", "attribute@distill-all") & set(METHODS)
    asked = read_yaml(PROJECT / "params.yaml")["attribute"]["methods"].values()
    assert methods == {entry["maps"] for entry in asked}
    assert of("attribution", "roar@all") & set(METHODS) == {"grad_cam"}


def test_lists_of_entries_are_in_the_manifest_of_the_check_alone(manifests):
    for path in ("attribution_preservation/attribution/methods.py", "attribution_preservation/matching/losses.py"):
        assert {name for name, listed in manifests.items() if path in listed} == {"check"}


def test_files_that_modules_read_are_listed(manifests):
    assert "attribution_preservation/data/imagenet_classes.csv" in manifests["dataset"]
    assert "attribution_preservation/reporting/page/assets/app.js" in manifests["report"]
    assert "attribution_preservation/reporting/page/assets/app.js" not in manifests["dataset"]


def test_a_stage_depends_on_its_own_manifest_and_on_no_module(monkeypatch):
    monkeypatch.chdir(PROJECT)
    for name, stage in every_instance().items():
        if name != "code":
            of_code = [dep for dep in stage.deps if dep.parts[0] in OURS or dep.parent == Path("data/code")]
            assert of_code == [Path(f"data/code/{name}.txt")]


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_no_stage_knows_the_whole_schema(name):
    # Else every edit of any section's schema would train everything again.
    assert Path("attribution_preservation/pipeline/profile.py") not in closure(PROJECT / "stages" / f"{name}.py")


def test_every_stage_waits_for_the_check():
    for name in STAGES:
        assert name in ("code", "check") or "data/check.txt" in GRAPH["stages"][name]["deps"]


def test_a_stage_has_one_name_everywhere():
    sections = read_yaml(PROJECT / "params.yaml")
    for name in STAGES:
        assert (PROJECT / "stages" / f"{name}.py").exists()
        assert GRAPH["stages"][name]["cmd"].startswith(f"python -m stages.{name}")
        # check reads every section; dataset's is called data, after the files that it describes.
        assert name in sections or name in ("code", "check", "dataset")


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
    count = sum(len(list(found)) for found in instances_of(tmp_path, monkeypatch, profile).values())
    assert least <= count <= most


@pytest.mark.parametrize("profile", ["digits", "smoke", "voc2012", "voc_subset"])
def test_every_profile_takes_the_whole_path(tmp_path, monkeypatch, profile):
    found = instances_of(tmp_path, monkeypatch, profile)
    # Starting two more stages takes longer than what smoke would do in them.
    left_out = {"prune_channels", "scratch"} if profile == "smoke" else set()
    assert {name for name, instances in found.items() if not instances} == left_out
    # Whatever a training stage leaves lies in a batch of attribute and evaluate.
    batches = [stage.out.relative_to("maps") for stage in found["attribute"]]
    for name in ("teacher", "prune_weights", "prune_channels", "distill", "scratch"):
        for stage in found[name]:
            out = stage.out.relative_to("models")
            assert any(batch in (out, *out.parents) for batch in batches), out


def instances_of(root, monkeypatch, profile):
    write_parameters(root, {}, profile)
    (root / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    monkeypatch.chdir(root)
    return {name: list(instances(name)) for name in STAGES}
