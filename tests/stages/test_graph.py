"""The graph may not lie: a stage's declared deps cover every module of the project that it imports."""

import ast
import contextlib
import graphlib
from pathlib import Path

import pytest

from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.pipeline.run.code_manifest import manifest_of, read_manifest
from attribution_preservation.pipeline.run.graph import every_instance, instances
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT, command_of, write_parameters

GRAPH = read_yaml(PROJECT / "dvc.yaml")
STAGES = list(GRAPH["stages"])
OURS = ("stages", "attribution_preservation")
ENTRIES = {
    "attribution": METHODS, "matching": LOSSES, "compression": COMPRESSIONS, "data": SOURCES, "models": NETWORKS,
}  # fmt: skip
LISTS = [
    f"attribution_preservation/{name}.py"
    for name in (
        "attribution/methods",
        "matching/losses",
        "compression/compressions",
        "data/sources",
        "models/networks",
    )
]


def module_file(module: str) -> Path | None:
    path = PROJECT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def imported(path: Path) -> set[Path]:
    """Files of the project that a file imports, wherever in it the import stands."""
    files = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        files |= {module_file(name) for name in names if name.split(".")[0] in OURS}
    return files - {None}


def closure(path: Path) -> set[Path]:
    done, waiting = set(), {path}
    while waiting:
        done.add(current := waiting.pop())
        waiting |= imported(current) - done
    return {file.relative_to(PROJECT) for file in done}


def module(name):
    """The file whose command a stage is."""
    return module_file(command_of(name)[0])


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
    needed = {str(file) for file in closure(module(name)) if (PROJECT / file).stat().st_size}
    for listed in of_stage(manifests, name):
        assert needed - listed == set()


@pytest.mark.parametrize("name", OTHERS)
def test_a_manifest_lists_nothing_else_but_entries_and_files_beside_modules(manifests, name):
    needed = closure(module(name))
    for listed in of_stage(manifests, name):
        more = {Path(path) for path in listed} - needed
        entries = {path for path in more if path.suffix == ".py" and path.stem in ENTRIES.get(path.parent.name, ())}
        of_entries = {file for path in entries for file in closure(PROJECT / path)}
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
    declared = read_yaml(PROJECT / "params.yaml")["attribute"]["methods"].values()
    assert methods == {entry["maps"] for entry in declared}
    assert of("attribution", "roar@all") & set(METHODS) == {"grad_cam"}
    # In the default profile every network is a VGG6-BN. What is read from a file has its shape there.
    with_networks = {name.split("@")[0] for name in manifests if of("models", name) & set(NETWORKS) == {"vgg6_bn"}}
    assert with_networks == {"teacher", "distill", "scratch", "roar"}
    without = {name.split("@")[0] for name in manifests if not of("models", name) & set(NETWORKS)}
    assert with_networks | without == set(OTHERS) - {"check"}
    assert of("models", "check") >= set(NETWORKS)


def test_lists_of_entries_are_in_the_manifest_of_the_check_alone(manifests):
    for path in LISTS:
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
    assert Path("attribution_preservation/pipeline/profile.py") not in closure(module(name))


def test_every_stage_waits_for_the_check():
    for name in STAGES:
        assert name in ("code", "check") or "data/check.txt" in GRAPH["stages"][name]["deps"]


def test_a_stage_has_one_name_everywhere():
    sections = read_yaml(PROJECT / "params.yaml")
    for name in STAGES:
        assert module(name).exists()
        # Of those that one module serves, the command names the stage.
        expected = [f"stages.compress {name}" if name in COMPRESSIONS else f"stages.{name}"]
        assert [" ".join(command_of(name))] == expected
        # check reads every section; dataset's is called data, after the files that it describes.
        assert name in sections or name in ("code", "check", "dataset")


def test_stages_are_used_by_nobody():
    for path in (PROJECT / "attribution_preservation").rglob("*.py"):
        assert not any(PROJECT / "stages" in file.parents for file in imported(path)), path


# What each folder of the library, or module beside them, imports of the others; its own floor is above all of them.
MAY_IMPORT = {
    "errors": set(),
    "entries": set(),
    "drawing": set(),
    "settings": {"errors"},
    "optimization": {"settings"},
    "storage": {"errors"},
    "process": {"errors"},
    "data": {"entries", "errors", "process", "settings", "storage"},
    "models": {"entries", "errors", "optimization", "settings", "storage"},
    "deployment": {"models"},
    "matching": {"data", "entries", "errors", "models", "settings"},
    "compression": {"entries", "errors", "matching", "models", "optimization", "settings"},
    "training": {"data", "errors", "models", "optimization", "process", "settings", "storage"},
    "attribution": {"drawing", "entries", "models", "settings"},
    "metrics": {"attribution", "data", "errors", "optimization", "settings", "storage"},
    "reporting": {"drawing", "errors", "metrics", "settings", "storage"},
    "pipeline": {
        "attribution", "compression", "data", "entries", "errors", "matching", "metrics", "models", "optimization",
        "process", "reporting", "settings", "storage", "training",
    },
}  # fmt: skip


def folder_of(path):
    return path.relative_to(PROJECT / "attribution_preservation").parts[0].removesuffix(".py")


def test_a_folder_imports_what_lies_below_it_and_nothing_else():
    imports = {}
    for path in (PROJECT / "attribution_preservation").rglob("*.py"):
        below = {folder_of(other) for other in imported(path)} - {folder_of(path), "__init__"}
        imports.setdefault(folder_of(path), set()).update(below)
    imports.pop("__init__")
    assert imports == MAY_IMPORT


def test_the_folders_have_an_order():
    order = list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())  # raises where they form a circle
    assert order[-1] == "pipeline"


# `code` is not counted: it imports no torch, and takes a second.
@pytest.mark.parametrize(("profile", "least", "most"), [("digits", 30, 45), ("smoke", 1, 12)])
def test_a_profile_has_no_more_instances_than_its_overhead_allows(tmp_path, monkeypatch, profile, least, most):
    count = sum(
        len(list(stage_instances))
        for name, stage_instances in instances_of(tmp_path, monkeypatch, profile).items()
        if name != "code"
    )
    assert least <= count <= most
    assert not {path for path in closure(module("code")) if path.parts[1:2] in (("models",), ("training",))}


@pytest.mark.parametrize("profile", ["digits", "smoke", "voc2012", "voc_subset"])
def test_every_profile_takes_the_whole_path(tmp_path, monkeypatch, profile):
    by_stage = instances_of(tmp_path, monkeypatch, profile)
    # Starting two more stages takes longer than what smoke would do in them.
    left_out = {"prune_channels", "scratch"} if profile == "smoke" else set()
    assert {name for name, instances in by_stage.items() if not instances} == left_out
    # Whatever a training stage leaves lies in a batch of attribute and evaluate.
    batches = [stage.only_out.relative_to("maps") for stage in by_stage["attribute"]]
    for name in ("teacher", "prune_weights", "prune_channels", "distill", "scratch"):
        for stage in by_stage[name]:
            out = stage.only_out.relative_to("models")
            assert any(batch in (out, *out.parents) for batch in batches), out


def instances_of(root, monkeypatch, profile):
    write_parameters(root, {}, profile)
    (root / "dvc.yaml").write_text((PROJECT / "dvc.yaml").read_text())
    monkeypatch.chdir(root)
    return {name: list(instances(name)) for name in STAGES}
