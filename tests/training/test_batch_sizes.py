"""A batch fits the images of an epoch, the processes that share it, and batch normalisation, before anything trains."""

from contextlib import nullcontext

import pytest
import torch

from attribution_preservation.data.miniature import MINIATURE_WNIDS
from attribution_preservation.errors import UserError
from attribution_preservation.models.build import build
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.batch_sizes import check_share
from tests.conftest import PROJECT

SCHEDULE = {
    "epochs": 1, "images_per_epoch": None, "batch_size": 1, "learning_rate": 0.1, "milestones": [], "gamma": 0.1,
    "momentum": 0.0, "weight_decay": 0.0, "augmentation": {"crop_scale": None, "flip": 0.0},
}  # fmt: skip
TRAINING = ("teacher", "prune_weights", "prune_channels", "distill", "scratch", "roar")


@pytest.mark.parametrize("architecture", NETWORKS)
@pytest.mark.parametrize("images", [1, 2])
def test_a_share_is_refused_where_torchs_batch_normalisation_refuses_it(architecture, images):
    """At every size about that at which the last maps shrink to one cell."""
    divisor = min(NETWORKS[architecture].shape.widths.values()) // 2
    whole = NETWORKS[architecture].shape
    tried = 0
    for size in (8, 9, 16, 31, 32, 33, 64):
        try:
            whole.map_sizes(size)
        except UserError:
            continue
        tried += 1
        network = build(architecture, divisor, classes=2, input_size=size, dropout=0.0).train()
        schedule = Optimization(**SCHEDULE | {"batch_size": 3 * images})
        expected = nullcontext()
        try:
            network(torch.zeros(images, 3, size, size))
        except ValueError:  # "Expected more than 1 value per channel when training"
            expected = pytest.raises(ValueError, match=f"one cell at {size} pixels; take 6 or more images")
        with expected:
            check_share("teacher", schedule, 3, {"teacher.networks.a": (whole, size)})
    assert tried


def residual(size=8, **changes):
    """The default with networks whose last maps have one cell, in every stage that trains."""
    sections = read_yaml(PROJECT / "params" / "digits.yaml")
    small = {"architecture": "resnet8", "width_divisor": 1}
    sections["input"]["size"] = 32
    sections["teacher"]["networks"]["vgg6_bn"] |= {"architecture": "resnet34"}
    sections["prune_channels"]["students"] = {"rate_70": {"all": 0.5}}
    for compression in ("distill", "scratch"):
        sections[compression]["students"]["half"] = {"architecture": "resnet34", "width_divisor": 2}
    sections["roar"]["classifier"] |= small | {"size": size}
    sections["probe"] = None
    sections["matching"] = {"paper": sections["matching"]["paper"]}
    sections["prune_channels"]["matchings"] = ["paper"]
    for name in ("deep_lift", "information_bottleneck"):
        del sections["attribute"]["methods"][name]
    sections["runtime"] |= changes
    return sections


@pytest.mark.parametrize("stage", TRAINING)
@pytest.mark.parametrize(("devices", "nodes", "batch"), [(1, 1, 1), (2, 1, 2), (2, 4, 8)])
def test_a_batch_of_one_image_and_one_cell_is_refused_in_every_stage_that_trains(stage, devices, nodes, batch):
    profile = residual(devices=devices, nodes=nodes)
    validate(Profile, profile)
    profile[stage]["optimization"]["batch_size"] = batch
    with pytest.raises(UserError) as refused:
        validate(Profile, profile)
    message = str(refused.value)
    assert message.startswith(f"params.yaml: {stage}.optimization.batch_size: with one image for each process")
    assert f"take {2 * batch} or more images" in message
    assert "\n" not in message
    profile[stage]["optimization"]["batch_size"] = 2 * batch
    validate(Profile, profile)


def test_one_image_is_enough_where_its_maps_have_several_cells_or_nothing_is_trained():
    several_cells, no_roar = residual(size=9), residual()
    no_roar["roar"]["students"] = []
    for profile in (several_cells, no_roar):
        profile["roar"]["optimization"]["batch_size"] = 1
        assert validate(Profile, profile).roar.optimization.batch_size == 1


@pytest.mark.parametrize("stage", TRAINING)
@pytest.mark.parametrize(("devices", "nodes"), [(3, 1), (1, 7), (64, 1), (8, 8)])
def test_a_batch_that_processes_cannot_share_is_refused(stage, devices, nodes):
    profile = residual(devices=devices, nodes=nodes)
    for key in TRAINING:
        profile[key]["optimization"]["batch_size"] = 2 * devices * nodes
    validate(Profile, profile)
    profile[stage]["optimization"]["batch_size"] = 32
    with pytest.raises(UserError, match=rf"{stage}\.optimization\.batch_size: 32 images cannot be shared by"):
        validate(Profile, profile)


@pytest.mark.parametrize(
    ("profile", "images"), [("digits", 6000), ("voc2012", 5717), ("imagenet-smoke", 200 * len(MINIATURE_WNIDS))]
)
def test_a_batch_of_more_images_than_the_data_set_has_is_refused(profile, images):
    sections = read_yaml(PROJECT / "params" / f"{profile}.yaml")
    schedule = sections["prune_weights"]["optimization"]
    schedule |= {"batch_size": images, "images_per_epoch": None}
    validate(Profile, sections)
    for images_per_epoch in (None, 10**6):
        schedule |= {"batch_size": images + 1, "images_per_epoch": images_per_epoch}
        with pytest.raises(UserError, match=f"prune_weights.*batch_size: an epoch has only {images} images"):
            validate(Profile, sections)
    if profile != "digits":
        sections["data"]["root"] = "somewhere"  # nobody knows how many there are
        validate(Profile, sections)
