"""docs/extend.md keeps its word: each entry is one file and one line, and a profile names it from data to report."""

import pandas as pd
import pytest

from attribution_preservation.storage.tensors import read_tensors
from attribution_preservation.storage.yaml_text import format_yaml, parse_yaml, read_yaml
from tests.conftest import ORDER, TINY, run_stage, write_parameters
from tests.docs.examples import blocks

METHOD, _, LOSS, _, COMPRESSION, SOURCE, _, NETWORK, _ = blocks("extend.md")
STAGE, SECTION = blocks("extend.md", "yaml")
ADDED = {
    "attribution": ("ablation_cam", METHOD, "methods.py"),
    "matching": ("attention", LOSS, "losses.py"),
    "compression": ("prune_randomly", COMPRESSION, "compressions.py"),
    "data": ("shapes", SOURCE, "sources.py"),
    "models": ("vgg5_bn", NETWORK, "networks.py"),
}


def save(project, folder):
    """The one file of an entry."""
    name, block, _ = ADDED[folder]
    (project / "attribution_preservation" / folder / f"{name}.py").write_text(f'"""{name}."""\n\n{block}')


def add(project, folder):
    """The one file of an entry, and its one line in the list, with the import."""
    name, _, list_file = ADDED[folder]
    save(project, folder)
    path = project / "attribution_preservation" / folder / list_file
    text = path.read_text()
    before, _, after = text.rpartition(")")
    imported = f"from attribution_preservation.{folder}.{name} import {name.upper()}\n"
    path.write_text(f"{before}    {name.upper()},\n){after}".replace("\nfrom ", f"\n{imported}from ", 1))


def add_stage(project):
    """The two blocks of YAML that a compression needs."""
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("  attribute:\n", f"{STAGE}\n  attribute:\n", 1))
    values = read_yaml(project / "params.yaml") | parse_yaml(SECTION)
    values["folders"]["prune_randomly"] = "prune_randomly"
    values["batches"] = ["prune_randomly", "teacher"]
    (project / "params.yaml").write_text(format_yaml(values))


# Of the project's own compressions none runs.
CHANGES = {
    "data.source": "shapes",
    "teacher.networks.vgg6_bn.architecture": "vgg5_bn",
    "matching.attention": {"maps": "attention", "strength": 10.0, "exponent": 3.0},
    **{f"{name}.students": {} for name in ("prune_weights", "prune_channels", "distill", "scratch")},
    "batches": ["teacher"],
    "attribute.compared": {"students": ["half"], "methods": ["naive", "attention"]},
    # Without its ReLU: of a network that has learnt so little no map would be positive anywhere.
    "attribute.methods.ablation_cam": {"maps": "ablation_cam"},
    "evaluate.methods": ["naive", "attention"],
    "roar.methods": ["naive"],
    "roar.students": [],
}


def test_entries_that_a_reader_adds_are_used_from_the_data_to_the_report(project):
    for folder in ADDED:
        add(project, folder)
    path = project / "attribution_preservation" / "attribution" / "ablation_cam.py"
    path.write_text(path.read_text().replace("F.relu", ""))
    write_parameters(project, TINY | CHANGES)
    add_stage(project)
    values = read_yaml(project / "params.yaml")
    values["prune_randomly"]["matchings"] = ["naive", "attention"]
    (project / "params.yaml").write_text(format_yaml(values))
    before = {path: path.read_bytes() for path in project.rglob("*.py")}
    for name in (*ORDER[:4], "prune_randomly", *ORDER[8:]):
        done = run_stage(project, name)
        assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in project.rglob("*.py")} == before
    (trained,) = (project / "models").rglob("prune_randomly/half/attention/attention/seed-0/network.safetensors")
    masks, _ = read_tensors(trained.with_name("network.masks.safetensors"), "")
    weights, description = read_tensors(trained, "")
    assert masks
    assert description["structure"]["layers"] == [16, "M", 32, "M", 64, 96, "M"]
    for name, mask in masks.items():
        assert not weights[f"{name}.weight"][~mask].any()
    maps, description = read_tensors(next((project / "maps" / "all" / "teacher").rglob("*.safetensors")), "")
    assert "ablation_cam" in description["methods"]
    assert maps["ablation_cam"].shape == maps["grad_cam"].shape
    assert maps["ablation_cam"].flatten(1).any(1).all()
    table = (project / "reports" / "tables" / "transfer_prune_randomly_half_common.md").read_text()
    for title in ("Ablation-CAM", "Attention"):
        assert f"| {title} " in table
    assert (project / "reports" / "tables" / "prune_randomly_common.md").read_text().startswith("Random pruning,")
    results = pd.read_csv(project / "reports" / "results.csv")
    of_it = results[results["compression"] == "prune_randomly"]
    assert {"naive", "attention"} <= set(of_it["method"])
    assert {"grad_cam", "ablation_cam"} <= set(of_it["attribution"].dropna())
    assert of_it["sparsity"].dropna().tolist() == pytest.approx([0.5] * of_it["sparsity"].count(), abs=0.01)


@pytest.mark.parametrize(
    ("folder", "changes", "message"),
    [
        (
            "attribution", {"attribute.methods.ablation_cam": {"maps": "ablation_cam"}},
            "attribute.methods.ablation_cam.maps: ablation_cam is missing in attribution/methods.py",
        ),
        (
            "matching", {"matching.attention": {"maps": "attention", "strength": 1.0}},
            "matching.attention: attention is missing in matching/losses.py",
        ),
        ("compression", {}, "prune_randomly is missing in compression/compressions.py"),
        ("data", {"data.source": "shapes"}, "data.source: shapes is missing in data/sources.py"),
        (
            "models", {"teacher.networks.vgg6_bn.architecture": "vgg5_bn"},
            "teacher.networks.vgg6_bn.architecture: vgg5_bn is missing in models/networks.py",
        ),
        (
            "models", {"scratch.students.half.architecture": "vgg5_bn"},
            "scratch.students.half.architecture: vgg5_bn is missing in models/networks.py",
        ),
        (
            "models", {"roar.classifier.architecture": "vgg5_bn"},
            "roar.classifier.architecture: vgg5_bn is missing in models/networks.py",
        ),
    ],
)  # fmt: skip
def test_a_file_whose_line_was_forgotten_is_named_by_the_check(project, folder, changes, message):
    save(project, folder)
    write_parameters(project, TINY | changes)
    if folder == "compression":
        add_stage(project)
    done = run_stage(project, "check")
    assert done.returncode == 2
    assert message in done.stderr


def test_what_a_new_loss_does_not_take_is_named(project):
    add(project, "matching")
    write_parameters(project, TINY | {"matching.attention": {"maps": "attention", "strength": 1.0, "rectifier": "abs"}})
    done = run_stage(project, "check")
    assert done.returncode == 2
    assert "rectifier means nothing for maps: attention" in done.stderr
