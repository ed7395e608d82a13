"""Every profile fits the schema; every mistake in one is said in a line that names it."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT

PROFILES = sorted(path.stem for path in (PROJECT / "params").glob("*.yaml"))


def values(profile="digits"):
    return read_yaml(PROJECT / "params" / f"{profile}.yaml")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_named_after_its_file(profile):
    assert validate(Profile, values(profile)).profile == profile


def test_the_committed_parameters_are_the_default_profile():
    # What is committed, not what lies there: a user who has switched to another profile may run the tests too.
    committed = {
        name: subprocess.run(["git", "show", f"HEAD:{name}"], cwd=PROJECT, capture_output=True, check=True).stdout
        for name in ("params.yaml", "params/digits.yaml")
    }
    assert committed["params.yaml"] == committed["params/digits.yaml"]


def test_the_default_has_at_least_three_seeds():
    assert sum(len(group) for group in values()["seed_groups"].values()) >= 3


def test_imagenet_holds_the_supplements_values():
    profile = validate(Profile, values("imagenet"))
    assert (profile.input.size, profile.input.resize, profile.data.imagenet.classes) == (224, 256, 1000)
    teachers = {name: (full.architecture, full.hidden, full.init) for name, full in profile.teacher.networks.items()}
    assert teachers == {"vgg": ("vgg16_bn", [4096, 4096], "imagenet"), "resnet": ("resnet34", [], "imagenet")}
    assert profile.teacher.optimization is None  # as torchvision distributes them
    weights, channels = profile.prune_weights, profile.prune_channels
    assert (weights.teacher, channels.teacher) == ("vgg", "resnet")
    assert {(s.iterations, s.rate, s.epochs) for s in weights.students.values()} == {(1, 0.6, 10), (1, 0.9, 10)}
    assert weights.optimization.batch_size == 180
    assert channels.students == {"rate_10": {"all": 0.1}}
    assert channels.optimization.epochs == 20
    assert profile.matching["naive"].maps == "none"
    assert [profile.matching[name].strength for name in ("ewa", "swa", "sswa")] == [100, 50, 50]
    assert not profile.distill.students  # supplement B omits it


def keys(value, path=""):
    """Every key of a profile that a schema names; below a mapping by name, those of its first entry."""
    by_name = ("seed_groups", "matching", "students", "networks", "methods")
    if not isinstance(value, dict) or path.rsplit(".", 1)[-1] in by_name[:3] + by_name[4:]:
        return {path}
    if path.rsplit(".", 1)[-1] == "networks":
        return {path} | keys(next(iter(value.values())), f"{path}.NAME")
    return {path}.union(*(keys(inner, f"{path}.{key}") for key, inner in value.items()))


def test_the_miniature_profile_differs_from_imagenets_in_values_alone():
    small, full = values("imagenet-smoke"), values("imagenet")
    schedule = {key for key in keys(small) if key.startswith(".teacher.optimization.")}  # where teachers are trained
    assert keys(small) - schedule == keys(full)
    assert list(small["teacher"]["networks"]) == list(full["teacher"]["networks"])
    for compression in ("prune_weights", "prune_channels"):
        assert small[compression]["teacher"] == full[compression]["teacher"]
        assert list(small[compression]["students"]) == list(full[compression]["students"])


def test_a_pretrained_trunk_without_a_trained_head_is_no_teacher():
    profile = values("voc2012")
    profile["teacher"]["optimization"] = None
    with pytest.raises(UserError, match=r"teacher\.optimization: only ImageNet's classes have pretrained heads"):
        validate(Profile, profile)


IMAGENET_MISTAKES = {
    "probe": (values()["probe"], "probe: asks about several classes of an image; set it to null"),
    "roar.students": (["half"], "roar.students: retrains for several classes of an image"),
    "attribute.methods.rise": (
        {"maps": "rise", "masks": 8, "cells": 4, "kept": 0.5, "seed": 0},
        "attribute.methods.rise: explains a probability of its own",
    ),
    "teacher.networks.vgg.hidden": ([64], "teacher.networks.vgg.hidden: torchvision's network has [4096, 4096]"),
    "teacher.networks.resnet.hidden": ([64], "a residual network has no hidden layers in its head"),
    "teacher.networks.resnet.weights": (None, "init: imagenet needs the checksum"),
    "teacher.networks.vgg.weights": ("sha256:6c64", "teacher.networks.vgg.weights"),
    "prune_channels.students.rate_10": ({"layer1.0.conv2": 0.1}, "there is no such convolution that can shrink"),
    "prune_channels.students": (
        {"rate_10": {"conv1": 0.1}},
        "conv1: there is no such convolution that can shrink; there are layer1.0.conv1 to layer4.2.conv1",
    ),
    "data.checksum": ("md5:" + "0" * 32, "data.checksum: ImageNet is a folder"),
    "attribute.methods": (
        {"grad_cam": {"maps": "grad_cam"}, "deep_lift": {"maps": "deep_lift"}},
        "attribute.methods.deep_lift: DeepLIFT cannot follow residual blocks",
    ),
    "input.resize": (200, "a square of 224 pixels cannot be cut from an image resized to 200"),
    "data.imagenet.classes": (1001, "less than or equal to 1000"),
    "prune_channels.teacher": ("vgg", "no compression that runs starts from resnet"),
}


@pytest.mark.parametrize("key", IMAGENET_MISTAKES)
def test_a_mistake_in_imagenets_profile_is_one_line_that_names_the_parameter(key):
    value, expected = IMAGENET_MISTAKES[key]
    wrong = values("imagenet")
    *above, last = key.split(".")
    section = wrong
    for part in above:
        section = section[part]
    section[last] = value
    with pytest.raises(UserError) as refused:
        validate(Profile, wrong)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_voc2012_holds_the_supplements_values():
    profile = validate(Profile, values("voc2012"))
    assert (profile.input.size, profile.teacher.networks["vgg16_bn"].architecture) == (227, "vgg16_bn")
    assert profile.input.mean == [0.4589, 0.4355, 0.4032]
    assert profile.input.std == [0.2239, 0.2186, 0.2206]
    teacher, pruning = profile.teacher.optimization, profile.prune_weights.optimization
    iterative = profile.prune_weights.students["iterative"]
    assert (teacher.learning_rate, teacher.momentum, teacher.weight_decay, teacher.batch_size) == (0.1, 0.9, 5e-4, 128)
    assert (teacher.epochs, teacher.milestones) == (60, [10, 30, 40])
    assert (iterative.iterations, iterative.rate, iterative.epochs) == (16, 0.2, 30)
    assert (pruning.learning_rate, pruning.momentum, pruning.weight_decay, pruning.batch_size) == (1e-3, 0.9, 1e-4, 64)
    strengths = {name: getattr(profile.matching[name], "strength", 0) for name in profile.evaluate.methods}
    assert strengths == {"naive": 0, "ewa": 100, "swa": 50, "sswa": 50}
    assert profile.matching["sswa"].dropped_share == 0.3
    channels, distill = profile.prune_channels, profile.distill
    assert channels.students["rate_70"] == dict.fromkeys(["conv1", *(f"conv{k}" for k in range(8, 14))], 0.7)
    assert (channels.optimization.epochs, channels.optimization.learning_rate) == (60, 1e-3)
    assert (distill.logits.temperature, distill.logits.weight) == (4, 0.9)
    assert [shape.width_divisor for shape in distill.students.values()] == [2, 4, 8]
    schedule = distill.optimization
    assert (schedule.learning_rate, schedule.weight_decay, schedule.batch_size) == (0.1, 1e-4, 64)
    assert (schedule.epochs, schedule.milestones) == (350, [150, 200, 250])
    # Every seed of every variant, where the default profile takes one.
    assert all(getattr(entry, "first_seeds", None) is None for entry in profile.matching.values())


MISTAKES = {
    "teacher.optimization.epochs": (0, "greater than 0"),
    "teacher.optimization.learning_rate": ("0.1", "valid number"),
    "teacher.optimization.momentum": (1.0, "less than 1"),
    "teacher.optimization.weight_decay": (float("nan"), "finite"),
    "teacher.epoch": (3, "unknown parameter"),
    "teacher.networks.vgg6_bn.architecture": ("vgg19", "there is no vgg19; there are vgg6_bn"),
    "runtime.device": ("tpu", "auto"),
    "runtime.deterministic": (1, "valid boolean"),
    "runtime.jobs": (0, "greater than 0"),
    "runtime.cpu_threads": (10**30, "runtime.cpu_threads: more than 4096"),
    "data.checksum": ("abc", "pattern"),
    "runtime": (
        {
            "device": "mps",
            "precision": "32-true",
            "cpu_threads": 1,
            "jobs": None,
            "workers": 0,
            "devices": 1,
            "nodes": 1,
            "checkpoint_seconds": 30,
            "compile": False,
            "deterministic": True,
        },
        "no deterministic pooling on mps",
    ),
    "teacher.networks.vgg6_bn.init": ("imagenet", "ImageNet weights for vgg11_bn, vgg16_bn, resnet34 in full width"),
    "teacher.networks.vgg6_bn.weights": ("sha256:0123abcd", "init: imagenet needs the checksum"),
    "teacher.networks.vgg6_bn.width_divisor": (3, "3 does not divide every width of vgg6_bn"),
    "teacher.networks": ({}, "at least 1 item"),
    "distill.teacher": ("vgg16", "vgg16 is none of teacher.networks (vgg6_bn)"),
    "teacher.optimization": (None, "vgg6_bn starts from scratch and has to be trained"),
    "teacher.optimization.augmentation": ({"crop_scale": [1.0, 0.5], "flip": 0.0}, "down to 0.5"),
    "prune_weights.optimization.batch_size": (641, "an epoch has only 640 images"),
    "matching.teacher": ({"maps": "swa"}, "this name stands for no method of matching"),
    "input.std": ([0.2, 0.0, 0.2], "greater than 0"),
    "prune_weights.students.iterative.rate": (1.0, "less than 1"),
    "prune_weights.matchings": (["paper", "kd"], "kd has no entry under matching"),
    "seed_groups.all": ([0, 1, 1], "stands there twice"),
    "matching.paper.methods.swa": ({"maps": "swa", "strengh": 1.0}, "unknown parameter"),
    "matching.paper.methods.sswa": ({"maps": "swa", "dropped_share": 1.0}, "less than 1"),
    "matching.paper.methods.ewa": ({"maps": "ewa", "rectifier": "abs"}, "rectifier means nothing for maps: ewa"),
    "matching.variants.methods": ({"swa": {"maps": "swa"}}, "the method swa stands there twice"),
    "matching.swa_strength.values": ([5.0, -1.0], "greater than or equal to 0"),
    "matching.sswa_share.values": ([0.5, 1.0], "leaves nothing"),
    "matching.sswa_share.of": ({"maps": "ewa"}, "dropped_share means nothing for maps: ewa"),
    "matching.variants.methods.swa_layers": (
        {"maps": "swa", "strength": 50.0, "layers": ["conv9"]},
        "matching.swa_layers, for prune_channels.students.rate_70: layers: the student has no layer conv9",
    ),
    "prune_channels.students.rate_70": ({"conv1": 0.95}, "rate_70.conv1: a rate of 0.95 leaves none of its 16 filters"),
    "prune_channels.students": ({"a": {"conv14": 0.5}}, "students.a.conv14: there is no such convolution"),
    "prune_channels.students.rate_50": ({"all": 0.95}, "rate_50.conv1: a rate of 0.95 leaves none of its 16 filters"),
    "distill.students.half": ({"architecture": "vgg16_bn", "width_divisor": 1}, "wider than its teacher (512 channels"),
    "distill.students.residual": (
        {"architecture": "resnet8", "width_divisor": 1},
        "distill.students.residual: its attribution map has a side of 7, its teacher's 14; they could not be compared",
    ),
    "scratch.students.residual": (
        {"architecture": "resnet8", "width_divisor": 1, "rates": {"conv1": 0.5}},
        "scratch.students.residual.rates.conv1: there is no such convolution that can shrink; there are layer1.0.conv1",
    ),
    "distill.students.half.architecture": ("vgg19", "distill.students.half.architecture: there is no vgg19"),
    "distill.students.half.width_divisor": (3, "half.width_divisor: 3 does not divide every width of vgg6_bn"),
    "distill.students": (
        {"deep": {"architecture": "vgg11_bn", "width_divisor": 16}},
        "distill.students.deep: its attribution map has a side of 3, its teacher's 14; they could not be compared",
    ),
    "distill.snapshots": ([99], "distill.snapshots: 99 is not before the last epoch"),
    "prune_weights.students.iterative.snapshots": ([1], "iterative.snapshots: 1 is not before the last epoch"),
    "matching.swa_layer.values": ([1.0], "matching.swa_layer: values: layers takes names of layers"),
    "matching.sswa_share.sweep": ("layers", "matching.sswa_share: values: layers takes names of layers"),
    "scratch.students.half": (
        {"architecture": "vgg6_bn", "width_divisor": 1, "rates": {"conv2": 1.0}},
        "scratch.students.half.rates.conv2: a rate of 1.0 leaves none",
    ),
    "evaluate.methods": (["naive", "kd"], "kd is no method that a compression trains"),
    "attribute.methods.logits": ({"maps": "lrp"}, "methods.logits: this name stands for no attribution method"),
    "attribute.every": (["saliency"], "every: saliency is none of the methods grad_cam, "),
    "attribute.compared.students": (["third"], "no compression trains third"),
    "attribute.compared.methods": (["swa_best"], "swa_best is no method that a compression trains"),
    "attribute.methods.information_bottleneck.layer": ("conv9", "no layer is called conv9; there are conv1, "),
    "attribute.methods.rise.masks": (0, "attribute.methods.rise.masks: input should be greater than 0"),
    "attribute.methods.lrp.maps": ("saliency", "attribute.methods.lrp: maps must be one of grad_cam, "),
    "prune_channels.matchings": (["variants"], "prune_channels.matchings trains none of them"),
    "matching.layer_maps.methods.neuron": ({"maps": "neuron"}, "neuron has no strength"),
    "matching.paper.methods.sswa.dropped_share": (0.999, "a dropped_share of 0.999 leaves none of 96 channels"),
    "probe.layers.names": (["conv9"], "conv9 is no layer of the teacher and of every compared student"),
    "probe.randomization.methods": (
        ["grad_cam", "information_bottleneck"],
        "information_bottleneck rests on statistics of the trained network",
    ),
    "probe.randomization.of_students": (["rise"], "rise is not among probe.randomization.methods"),
    "probe.removal.percents": ([50, 10], "the values must ascend"),
    "input.resize": (40, "input: a square of 56 pixels cannot be cut from an image resized to 40"),
    "data.imagenet.classes": (1001, "data.imagenet.classes: input should be less than or equal to 1000"),
    "data.imagenet.devkit_checksum": ("fa75", "data.imagenet.devkit_checksum: string should match"),
    "data.imagenet.miniature.largest": (71, "data.imagenet.miniature: largest (71) is less than smallest (72)"),
    "roar.students": (["third"], "distill has no student third"),
    "roar.methods": (["swa_right"], "swa_right is no method that distill trains"),
    "roar.percents": ([], "roar.percents"),
    "probe.randomization.pairs": (0, "probe.randomization.pairs"),
    "roar.classifier.architecture": ("vgg19", "roar.classifier.architecture: there is no vgg19"),
    "roar.classifier.size": (4, "roar.classifier: input.size: 4 pixels are too few"),
    "folders.prune_weights": ("teacher/prune_weights", "teacher holds another stage's folder"),
    "folders.distill": ("distilled", "its last part must be distill"),
    "batches": (["teacher"], "these folders hold networks: distill, prune_channels"),
}


@pytest.mark.parametrize("key", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_parameter(key):
    value, problem = MISTAKES[key]
    wrong = values()
    *above, last = key.split(".")
    section = wrong
    for part in above:
        section = section[part]
    section[last] = value
    with pytest.raises(UserError) as caught:
        validate(Profile, wrong)
    message = str(caught.value)
    assert message.startswith("params.yaml: ")
    assert key.split(".")[0] in message or problem.split(".")[0] in message
    assert problem in message
    assert "\n" not in message
    assert len(message) < 500


def test_both_families_and_a_rate_for_all_convolutions_are_taken():
    right = values()
    right["prune_channels"]["students"]["rate_70"] = {"all": 0.1, "conv1": 0.5}
    right["roar"]["classifier"] |= {"architecture": "resnet8", "width_divisor": 2}
    validate(Profile, right)
    right["roar"]["classifier"]["width_divisor"] = 3
    with pytest.raises(UserError, match=r"classifier\.width_divisor: 3 does not divide every width of resnet8"):
        validate(Profile, right)


def test_a_method_that_tables_compare_is_explained_by_every_attribution_method():
    # Else `common` would mean other pairs in the tables of probes than in all others.
    wrong = values()
    wrong["attribute"]["compared"]["methods"] = ["naive", "swa", "sswa"]
    with pytest.raises(UserError, match="methods: ewa is missing, which is among evaluate"):
        validate(Profile, wrong)


@pytest.mark.parametrize("changes", [{"compared": "eighth"}, {"every": "information_bottleneck"}])
def test_a_layer_whose_maps_differ_in_size_is_named(changes):
    # vgg11 ends with a map of vgg16's size, but its third convolution lies behind two max-pools, vgg16's behind one.
    wrong = values("voc2012")
    wrong["distill"]["students"]["eighth"] = {"architecture": "vgg11_bn", "width_divisor": 8}
    attribute = wrong["attribute"]
    attribute["methods"]["information_bottleneck"]["layer"] = "conv3"
    attribute["compared"]["students"] = ["iterative", changes.get("compared", "rate_70")]
    attribute["every"] += [changes["every"]] if "every" in changes else []
    with pytest.raises(UserError, match="at conv3 some networks have a side of 56, others of 113"):
        validate(Profile, wrong)


@pytest.mark.parametrize("section", list(values()))
def test_a_missing_section_is_named(section):
    wrong = values()
    del wrong[section]
    with pytest.raises(UserError, match=f"params.yaml: {section}: field required"):
        validate(Profile, wrong)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.sampled_from(list(values())),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_any_rubbish_in_a_section_is_accepted_or_refused_in_one_line(section, rubbish):
    message = ""
    try:
        validate(Profile, values() | {section: rubbish})
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    # The only rule of the first is a name's; the second may be left out.
    assert message.startswith("params.yaml: ") or section == "profile" or (section, rubbish) == ("probe", None)
