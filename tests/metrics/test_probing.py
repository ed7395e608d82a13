"""Whose maps order the pixels, what noise is held against, and what untrained layers are compared with."""

import numpy as np
import pytest
import torch

from attribution_preservation.data.inputs import Pairs
from attribution_preservation.metrics.probe_settings import Probe
from attribution_preservation.metrics.probing import Look, Prober, View

COUNT, SIDE = 40, 4
SETTINGS = Probe(
    batch_size=8,
    removal={"pairs": None, "percents": [50], "seed": 0},
    randomization={"methods": ["lrp"], "of_students": [], "pairs": COUNT, "draws": 2, "seed": 5},
    corruption={"deviations": [40.0], "seed": 0},
    layers={"names": ["first"], "images": 10},
)


def images():
    return torch.from_numpy(np.random.default_rng(0).integers(60, 200, (COUNT, 3, SIDE, SIDE), dtype=np.uint8))


def first_pixel(images):
    """A network of one class that decides by the pixel in the corner: is it bright?"""
    return (images[:, :1, 0, 0].float() - 20) / 10


def prober():
    """One pair for every image; the corner is the object, and the rest is background."""
    masks = np.zeros((COUNT, SIDE, SIDE), dtype=np.uint8)
    masks[:, 0, 0] = 1
    rows = np.arange(COUNT)
    pairs = Pairs(image=rows, label=np.zeros(COUNT, dtype=np.int64), masks=masks, mask_row=rows)
    return Prober(SETTINGS, pairs, images(), np.ones((COUNT, 1)), torch.zeros(3, dtype=torch.uint8))


def corner():
    """The map that names it first, and the opposite corner last."""
    falling = np.linspace(1, 0.1, SIDE * SIDE, dtype=np.float32).reshape(1, SIDE, SIDE)
    return np.repeat(falling, COUNT, axis=0)


def view(maps, predict=first_pixel):
    return View(predict, lambda images: {"first": images.float()}, lambda chosen: maps[chosen], lambda _, c: maps[c])


def test_a_network_is_judged_by_its_own_map_beside_its_teachers():
    right, wrong = corner(), corner()[:, ::-1, ::-1].copy()
    for own, teachers, sign in ((right, wrong, 1), (wrong, right, -1)):
        scores = prober().removal(view(own), Look(None, own), Look(None, teachers))
        assert set(scores) == {"own_grad_cam", "teachers_grad_cam", "other_images_grad_cam", "random"}
        assert (sign * scores["own_grad_cam"]["insertion_over@teachers_grad_cam"] > 0).all()
        assert (sign * scores["own_grad_cam"]["deletion_under@teachers_grad_cam"] > 0).all()
        # All images have the same map here.
        assert (scores["own_grad_cam"]["insertion_over@other_images_grad_cam"] == 0).all()
    assert set(prober().removal(view(right), Look(None, right))) == {"own_grad_cam", "other_images_grad_cam", "random"}


def test_before_anything_is_removed_every_order_shows_the_whole_image():
    maps = corner()
    expected = 100 / (1 + np.exp(-first_pixel(images()).double().numpy()[:, 0]))
    for scores in prober().removal(view(maps), Look(None, maps), Look(None, maps)).values():
        np.testing.assert_allclose(scores["least_score@0"], expected)
        np.testing.assert_allclose(scores["most_score@0"], expected)


def test_noise_in_what_a_network_does_not_look_at_costs_nothing():
    def two_classes(images):  # the first one's rank falls with the corner's noise
        return torch.cat([first_pixel(images), first_pixel(255 - images)], dim=1)

    labelled = prober()
    labelled._labels = np.eye(2)[np.arange(COUNT) % 2]
    rows, of_images = labelled.noise(view(corner(), two_classes))
    assert (of_images["ap_lost@background/40"] == 0).all()
    assert ("ap_lost", "background/40") in {(row["metric"], row["at"]) for row in rows if row["value"] == 0}
    assert (of_images["ap_lost@object/40"] != 0).any()


def test_images_whose_maps_moved_lose_more():
    teacher, moved = corner(), corner()
    share = np.linspace(0, 1, COUNT)[:, None, None]
    moved = ((1 - share) * moved + share * moved[:, ::-1, ::-1]).astype(np.float32)
    lost = {"ap_lost@background/40": np.linspace(0, 5, COUNT), "ap_lost@object/40": np.zeros(COUNT)}
    background, objects = prober().lost_where_moved(lost, Look(None, moved), Look(None, teacher))
    assert background["value"] == pytest.approx(-1)
    assert objects["value"] is None  # all alike: no rank


def test_maps_of_the_untrained_are_held_against_the_networks_own_and_the_flat_ones_counted():
    maps = np.random.default_rng(1).random((COUNT, SIDE, SIDE)).astype(np.float32)
    flat = maps.copy()
    flat[:4] = 0.5
    seeds = []

    def cascade(seed):
        seeds.append(seed)
        yield "head", view(-maps)
        yield "conv1", view(flat)

    by_metric = {
        (row["metric"], row["at"]): (row["value"], row["n"]) for row in prober().untrained(view(maps), cascade, ["lrp"])
    }
    assert seeds == [5, 1005]
    # A map that turned over has not moved.
    assert by_metric["untrained", "head"] == (pytest.approx(1), 2 * COUNT)
    assert by_metric["untrained", "conv1"] == (pytest.approx(1), 2 * (COUNT - 4))
    assert (by_metric["untrained_flat", "head"], by_metric["untrained_flat", "conv1"]) == (
        (0, 2 * COUNT),
        (8, 2 * COUNT),
    )
    assert abs(by_metric["untrained_floor", None][0]) < 0.2


def test_a_network_is_like_itself():
    inside = prober().inside(view(corner()))
    by_metric = {(row["metric"], row["at"]): row["value"] for row in prober().likeness(inside, inside)}
    assert by_metric["cka", "first"] == pytest.approx(1)
    assert by_metric["company", "first"] == pytest.approx(1)
    assert by_metric["association_company", "first"] is None  # nothing moved
