"""docs/extend.md keeps its word: a method and a loss are one file and one line each, and a profile may name them."""

import pytest

from attribution_preservation.storage.tensors import read_tensors
from tests.conftest import TINY, run_stage, write_parameters
from tests.docs.examples import blocks

METHOD, LOSS = blocks("extend.md")[0], blocks("extend.md")[2]
# The smallest path from images to maps.
STAGES = ("code", "check", "dataset", "teacher", "prune_weights", "attribute")


def added(project, folder, name, block, list_file):
    """Save a block of the page, and add the one line that it tells to add (with its import)."""
    (project / "attribution_preservation" / folder / f"{name}.py").write_text(f'"""{name}."""\n\n{block}')
    path = project / "attribution_preservation" / folder / list_file
    text = path.read_text()
    before, _, after = text.rpartition(")")
    imported = f"from attribution_preservation.{folder}.{name} import {name.upper()}\n"
    path.write_text(f"{before}    {name.upper()},\n){after}".replace("\nfrom ", f"\n{imported}from ", 1))


def test_a_method_and_a_loss_that_a_reader_adds_are_used_from_the_profile_to_the_maps(project):
    # Without its ReLU: of a network that has learnt so little no map would be positive anywhere.
    added(project, "attribution", "ablation_cam", METHOD.replace("F.relu", ""), "methods.py")
    added(project, "matching", "attention", LOSS, "losses.py")
    write_parameters(
        project,
        TINY
        | {
            "matching.variants.methods": {"attention": {"maps": "attention", "strength": 10.0, "exponent": 3.0}},
            "prune_weights.matchings": ["naive", "sswa", "variants"],
            "prune_weights.students": {"one_shot": {"iterations": 1, "rate": 0.6, "epochs": 1}},
            "prune_channels.matchings": ["naive", "sswa"],
            "attribute.compared": {"students": ["one_shot"], "methods": ["naive", "sswa"]},
            "attribute.methods.ablation_cam": {"maps": "ablation_cam"},
        },
    )
    for name in STAGES:
        chosen = {"prune_weights": ("--matching", "variants"), "attribute": ("--batch", "teacher")}
        done = run_stage(project, name, *chosen.get(name, ()))
        assert done.returncode == 0, done.stderr
    (trained,) = (project / "models").rglob("one_shot/variants/attention/**/*.safetensors")
    assert trained.stat().st_size > 0
    maps, description = read_tensors(next((project / "maps" / "all" / "teacher").rglob("*.safetensors")), "")
    assert "ablation_cam" in description["methods"]
    assert maps["ablation_cam"].shape == maps["grad_cam"].shape
    assert maps["ablation_cam"].flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("folder", "name", "block", "changes", "told"),
    [
        (
            "attribution", "ablation_cam", METHOD, {"attribute.methods.ablation_cam": {"maps": "ablation_cam"}},
            "attribute.methods.ablation_cam.maps: ablation_cam is missing in attribution/methods.py",
        ),
        (
            "matching", "attention", LOSS, {"matching.attention": {"maps": "attention", "strength": 1.0}},
            "matching.attention: attention is missing in matching/losses.py",
        ),
    ],
)  # fmt: skip
def test_a_file_whose_line_was_forgotten_is_named_by_the_check(project, folder, name, block, changes, told):
    (project / "attribution_preservation" / folder / f"{name}.py").write_text(f'"""{name}."""\n\n{block}')
    write_parameters(project, TINY | changes)
    done = run_stage(project, "check")
    assert done.returncode == 2
    assert told in done.stderr


def test_what_a_new_loss_does_not_take_is_named(project):
    added(project, "matching", "attention", LOSS, "losses.py")
    write_parameters(project, TINY | {"matching.attention": {"maps": "attention", "strength": 1.0, "rectifier": "abs"}})
    done = run_stage(project, "check")
    assert done.returncode == 2
    assert "rectifier means nothing for maps: attention" in done.stderr
