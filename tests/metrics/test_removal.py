"""Pixels in the order of a map, on maps and a network that can be read off."""

import numpy as np
import pytest
import torch

from attribution_preservation.metrics.removal import map_of_image, ranks, removal_curve, remove, removed

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
    found = remove(images, pixels, torch.tensor([100, 101, 102], dtype=torch.uint8))
    assert found.dtype == torch.uint8
    assert found[0, :, 0, 0].tolist() == [100, 101, 102]
    assert found[1, :, 1, 1].tolist() == [100, 101, 102]
    assert torch.equal(found[0, :, 1], images[0, :, 1])
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
