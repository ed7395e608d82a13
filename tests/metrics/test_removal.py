"""Pixels in the order of a map, on maps and a network that can be read off."""

import numpy as np
import pytest
import torch
from quantus import PixelFlipping

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import evaluation_images, frame_image
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.metrics.removal import (
    RemovedPixels,
    contrasts,
    map_of_image,
    of_other_images,
    ranks,
    removal_curve,
    removal_scores,
    remove,
    removed,
)

MAP = np.array([[0.1, 0.9], [0.5, 0.3]])


def test_ranks_begin_with_the_most_important_pixel():
    assert ranks(MAP, [0]).tolist() == [[3, 0], [1, 2]]


def test_equal_values_are_in_random_order_that_their_seed_decides():
    flat = np.zeros((8, 8))
    assert ranks(flat, [0, 1]).tolist() == ranks(flat, [0, 1]).tolist()
    assert ranks(flat, [0, 1]).tolist() != ranks(flat, [0, 2]).tolist()
    assert sorted(ranks(flat, [0, 1]).ravel()) == list(range(64))
    half = np.zeros((8, 8))
    half[4:] = 1  # the lower half is more important, in whatever order
    assert ranks(half, [0])[4:].max() == 31


def test_what_is_removed_only_grows():
    places = torch.from_numpy(ranks(np.zeros((8, 8)), [3]))[None]
    for least in (False, True):
        few, more = removed(places, 0.25, least), removed(places, 0.5, least)
        assert (few.sum(), more.sum()) == (16, 32)
        assert not (few & ~more).any()
    # What is not among the least important three quarters is the most important one.
    assert torch.equal(removed(places, 0.75, least=True), ~removed(places, 0.25))


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_shares_are_of_all_pixels(share, count):
    assert removed(torch.from_numpy(ranks(MAP, [0]))[None], share).sum() == count


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        removed(torch.zeros(1, 2, 2), share)


def test_removed_pixels_have_the_colour_and_the_others_stay():
    images = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    pixels = torch.tensor([[[True, False], [False, False]], [[False, False], [False, True]]])
    altered = remove(images, pixels, torch.tensor([100, 101, 102], dtype=torch.uint8))
    assert altered.dtype == torch.uint8
    assert altered[0, :, 0, 0].tolist() == [100, 101, 102]
    assert altered[1, :, 1, 1].tolist() == [100, 101, 102]
    assert torch.equal(altered[0, :, 1], images[0, :, 1])
    assert images[0, 0, 0, 0] == 0  # the original is as it was


def test_an_image_with_several_classes_is_judged_by_the_strongest():
    strong, weak, none = np.array([[8.0, 2.0]]), np.array([[0.0, 0.5]]), np.zeros((1, 2))
    assert map_of_image(np.stack([strong, weak, none])).tolist() == [[1.0, 1.0]]
    assert map_of_image(np.stack([strong, none])).tolist() == [[1.0, 0.25]]
    assert map_of_image(none[None]).tolist() == [[0.0, 0.0]]


def test_the_curve_follows_the_class_of_each_pair():
    # The network adds up pixels, for class 1 negatively; removed pixels are 0.
    def predict(images):
        total = images.sum(dim=(1, 2, 3))
        return torch.stack([total, -total], dim=1)

    image = torch.from_numpy(MAP).expand(3, 2, 2)
    images, places = torch.stack([image, image]), torch.from_numpy(np.stack([ranks(MAP, [0])] * 2))
    labels, shares = torch.tensor([0, 1]), [0.0, 0.25, 0.75, 1.0]
    most = removal_curve(predict, images, labels, places, shares, torch.zeros(3))
    assert most[0].tolist() == pytest.approx([5.4, 2.7, 0.3, 0.0])  # 0.9, then 0.5 and 0.3 of three channels go
    assert torch.equal(most[1], -most[0])
    least = removal_curve(predict, images, labels, places, shares, torch.zeros(3), least=True)
    assert least[0].tolist() == pytest.approx([5.4, 5.1, 2.7, 0.0])


def test_the_curve_is_that_of_pixel_flipping_in_quantus():
    pixel_flipping = PixelFlipping(perturb_baseline=0.0, normalise=False, disable_warnings=True)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 16, 3)
    ).eval()  # fmt: skip
    images = torch.rand(5, 1, 6, 6) + 0.1
    labels = torch.tensor([0, 2, 1, 1, 0])
    maps = np.random.default_rng(0).random((5, 6, 6))
    expected = pixel_flipping(
        model=network,
        x_batch=images.numpy(),
        y_batch=labels.numpy(),
        a_batch=maps[:, None],
        channel_first=True,
        softmax=False,
    )
    places = torch.from_numpy(np.stack([ranks(values, [0]) for values in maps]))
    with torch.no_grad():
        curve = removal_curve(network, images, labels, places, [(k + 1) / 36 for k in range(36)], torch.zeros(1))
    np.testing.assert_allclose(curve.numpy(), np.array(expected), atol=1e-6)


def test_scores_of_a_map_that_names_the_only_pixel_that_counts():
    image = torch.zeros(1, 3, 2, 2)
    image[0, :, 1, 0] = 1.0

    def predict(images):
        seen = images[:, 0, 1, 0] * 2000 - 1000  # probability 1 with the pixel, 0 without
        return torch.stack([seen, -seen], dim=1)

    right = np.zeros((1, 2, 2), dtype=np.float32)
    right[0, 1, 0] = 1.0
    labels, colour = torch.tensor([0]), torch.zeros(3)
    scores = removal_scores(predict, image, labels, right, [25, 50, 75], colour, 0)
    assert [scores[f"least_score@{k}"][0] for k in (25, 50, 75)] == [100, 100, 100]
    assert [scores[f"most_score@{k}"][0] for k in (25, 50, 75)] == [0, 0, 0]
    assert (scores["least_kept@75"][0], scores["most_kept@25"][0]) == (100, 0)
    # 1 until the last quarter, over which it falls; and over the first quarter.
    assert (scores["insertion_area"][0], scores["deletion_area"][0]) == (pytest.approx(87.5), pytest.approx(12.5))
    assert scores["least_score@0"][0] == scores["most_score@0"][0] == 100  # the whole image
    wrong = removal_scores(predict, image, labels, 1 - right, [25, 50, 75], colour, 0)
    assert (wrong["insertion_area"][0], wrong["deletion_area"][0]) == (pytest.approx(12.5), pytest.approx(87.5))


def test_an_order_is_contrasted_with_others_by_its_areas():
    own = {"insertion_area": np.array([80.0, 50.0]), "deletion_area": np.array([5.0, 20.0])}
    chance = {"insertion_area": np.array([30.0, 60.0]), "deletion_area": np.array([25.0, 10.0])}
    differences = contrasts(own, {"random": chance})
    assert differences["insertion_over@random"].tolist() == [50, -10]
    assert differences["deletion_under@random"].tolist() == [20, -10]


def test_another_images_order_is_from_the_same_part():
    places = {position: np.full((2, 2), position) for position in (4, 5, 6, 9, 7)}
    swapped = of_other_images(places, [[4, 6, 9], [7, 5]])
    assert {position: order[0, 0] for position, order in swapped.items()} == {4: 6, 6: 9, 9: 4, 7: 5, 5: 7}


def test_a_data_set_without_its_most_important_pixels(voc, tmp_path):
    pack(voc, tmp_path)
    store = Store(tmp_path)
    places = {position: np.arange(64, dtype=np.uint16).reshape(8, 8) for position in (0, 2, 3)}
    colour = np.array([10, 20, 30], dtype=np.uint8)
    altered = RemovedPixels(store, places, 0.25, colour, Framing(size=8), 8)
    assert (altered.part("train"), altered.part("val")) == ([0], [2, 3])  # those that have an order
    assert np.array_equal(altered.labels([2]), store.labels([2]))
    image = altered.image(2)
    assert image.shape == (8, 8, 3)
    assert (image[:2] == colour).all()  # a quarter of the pixels: the first two rows
    whole = RemovedPixels(store, places, 0.0, colour, Framing(size=8), 8).image(2)
    # Nothing removed is the image itself, and what is reduced is reduced after the removal.
    assert np.array_equal(whole, evaluation_images(store, [2], Framing(size=8))[0].permute(1, 2, 0).numpy())
    reduced = RemovedPixels(store, places, 0.25, colour, Framing(size=8), 4).image(2)
    assert np.array_equal(reduced, frame_image(image, Framing(size=4)).permute(1, 2, 0).numpy())
    assert np.array_equal(image[2:], whole[2:])
    assert not (whole[:2] == colour).all(axis=2).any()
