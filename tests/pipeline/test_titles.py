"""What people call what a profile names."""

import json

import pytest

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.pipeline.titles import titles
from attribution_preservation.reporting.titles import Titles, read_titles
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT


def titles_of(name, change=lambda values: None):
    values = read_yaml(PROJECT / "params" / f"{name}.yaml")
    change(values)
    return titles(validate(Profile, values))


def test_a_method_has_the_title_of_its_entry_and_a_variant_its_own():
    named = titles_of("digits")
    assert named["methods"] | {"naive": "Naive", "swa": "SWA", "sswa": "SSWA"} == named["methods"]
    assert named["attributions"]["grad_cam_centred"] == "Grad-CAM, centred logits"
    assert named["attributions"]["lrp"] == "LRP"
    # One word is a matching loss and an attribution method.
    assert named["methods"]["integrated_gradients"] == named["attributions"]["integrated_gradients"]


def test_a_name_of_the_users_own_has_no_title():
    def rename(values):
        values["attribute"]["methods"]["mine"] = {"maps": "lrp"}

    named = titles_of("smoke", rename)
    assert "mine" not in named["attributions"]
    assert Titles(**named).attribution("mine") == "mine"


def test_what_a_profile_does_not_use_is_left_out():
    def leave_out(values):
        del values["attribute"]["methods"]["rise"]

    assert "rise" in titles_of("smoke")["attributions"]
    named = titles_of("smoke", leave_out)
    assert named["compressions"] == {"prune_weights": "weight pruning", "distill": "distillation"}
    assert "rise" not in named["attributions"]


def test_networks_are_named_by_method_or_else_by_compression():
    named = Titles({"swa": "SWA"}, {}, {"scratch": "from scratch"})
    assert named.network("swa", "scratch") == "SWA"
    assert named.network(None, "scratch") == "from scratch"
    assert named.network("teacher", "scratch") == "Teacher"
    assert named.student("scratch", "one_shot_90") == "from scratch, one shot 90"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"methods": {}, "another": {}}', '{"methods": []}', '{"methods": {"a": 1}}']
)
def test_a_damaged_file_says_what_to_run(tmp_path, text):
    path = tmp_path / "titles.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"titles\.json is damaged; run the stage check again"):
        read_titles(path)
    with pytest.raises(UserError, match=r"none\.json is missing; run the stage check first"):
        read_titles(tmp_path / "none.json")


def test_titles_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "titles.json"
    path.write_text(json.dumps(titles_of("digits")))
    assert vars(read_titles(path)) == titles_of("digits")
