"""Localisation scores against scikit-learn and by hand: ties, void, and maps of zeros."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attribution_preservation.metrics.localization import (
    centre_map,
    points_at,
    random_maps,
    roc_auc_score,
    score_localization,
    upsample,
)

# Few distinct values, so that ties are the rule; both signs, and -0.0 beside 0.0.
scores = st.sampled_from([-1.5, -0.0, 0.0, 0.25, 1.0, 3.0])


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    hnp.arrays(np.float32, st.integers(1, 30), elements=scores),
    hnp.arrays(np.float32, st.integers(1, 30), elements=scores),
)
def test_roc_auc_is_scikit_learns_with_ties(positive, negative):
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    expected = sklearn.metrics.roc_auc_score(truth, np.r_[positive, negative])
    assert roc_auc_score(positive, negative) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    hnp.arrays(np.float32, (1, 6, 6), elements=scores),
    hnp.arrays(np.uint8, (1, 6, 6), elements=st.sampled_from([0, 1, 2, 255])),
)
def test_void_is_neither_object_nor_background(maps, masks):
    object_pixels, background = masks[0] == 1, np.isin(masks[0], [0, 2])
    assume(object_pixels.any() and maps.any())
    localization = score_localization(maps, masks, np.array([0]), np.array([0]))
    if not background.any():
        assert np.isnan(localization.roc_auc[0])
        return
    known = masks[0] != 255
    expected = sklearn.metrics.roc_auc_score(object_pixels[known], maps[0][known])
    assert localization.roc_auc[0] == pytest.approx(100 * expected, abs=1e-7)


def test_another_class_is_background():
    masks = np.array([[[1, 2], [1, 2]]], dtype=np.uint8)
    localization = score_localization(np.array([[[1.0, 2.0], [1.0, 2.0]]]), masks, np.array([0]), np.array([0]))
    assert localization.roc_auc[0] == 0
    assert localization.point_accuracy[0] == 0


def test_a_hit_in_another_classes_mask_is_a_miss():
    # The released code kept the hits of an image's earlier classes.
    masks = np.array([[[1, 2, 0, 0]]], dtype=np.uint8).repeat(4, axis=1)
    maps = np.zeros((2, 4, 4))
    maps[:, 0, 0] = 1.0
    localization = score_localization(maps, masks, np.array([0, 0]), np.array([0, 1]))
    assert localization.point_accuracy.tolist() == [100, 0]


def test_the_first_of_equal_maxima_counts():
    positive = np.array([[False, True], [True, True]])
    valid = np.ones((2, 2), dtype=bool)
    assert not points_at(np.ones((2, 2)), positive, valid)
    assert points_at(np.array([[0.0, 1.0], [1.0, 1.0]]), positive, valid)


def test_void_cannot_win_the_pointing_game():
    values = np.array([[9.0, 1.0, 0.5]])
    positive = np.array([[False, True, False]])
    assert points_at(values, positive, np.array([[False, True, True]]))
    assert not points_at(values, positive, np.array([[True, True, True]]))


def test_a_map_of_zeros_counts_as_chance_and_as_a_miss():
    masks = np.ones((1, 4, 4), dtype=np.uint8)
    masks[0, 3, 3] = 0
    localization = score_localization(np.zeros((1, 2, 2), dtype=np.float32), masks, np.array([0]), np.array([0]))
    assert (localization.roc_auc[0], localization.point_accuracy[0], localization.zero_map[0]) == (50, 0, True)


def test_a_map_that_is_not_finite_is_a_mistake():
    with pytest.raises(ValueError, match="not finite"):
        score_localization(np.array([[[np.nan, 1.0]]]), np.ones((1, 1, 2), np.uint8), np.array([0]), np.array([0]))


def test_a_pair_whose_class_is_not_in_its_mask_is_a_mistake():
    with pytest.raises(ValueError, match="class 4 of pair 0 is not in its mask"):
        score_localization(np.ones((1, 2, 2)), np.ones((1, 2, 2), np.uint8), np.array([0]), np.array([4]))


def test_upsampling_is_bilinear_between_cell_centres():
    # One row of two cells over four pixels: centres at 1/4 and 3/4 of the width.
    upsampled = upsample(np.array([[[0.0, 4.0], [0.0, 4.0]]], dtype=np.float32), 4)
    assert upsampled[0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]


def test_many_maps_are_scored_as_each_one_alone():
    random = np.random.default_rng(0)
    maps, masks = random.random((300, 4, 4), dtype=np.float32), random.integers(0, 2, (3, 8, 8)).astype(np.uint8)
    rows = random.integers(0, 3, 300)
    whole = score_localization(maps, masks, rows, np.zeros(300, dtype=int))
    for pair in (0, 255, 256, 299):
        alone = score_localization(maps[pair : pair + 1], masks, rows[pair : pair + 1], np.zeros(1, dtype=int))
        assert alone.roc_auc[0] == whole.roc_auc[pair]
        assert alone.point_accuracy[0] == whole.point_accuracy[pair]


@pytest.mark.parametrize("size", [8, 9])
def test_the_centre_baseline_peaks_in_the_middle_and_is_symmetric(size):
    blob = torch.from_numpy(centre_map(size))
    assert torch.equal(blob, blob.T)
    assert torch.equal(blob, blob.flip(0))
    assert blob.max() == blob[size // 2, size // 2]


def test_random_baseline_is_at_chance_and_repeatable():
    maps = random_maps(400, 16, 5)
    assert np.array_equal(maps, random_maps(400, 16, 5))
    masks = np.zeros((1, 16, 16), dtype=np.uint8)
    masks[0, 4:12, 4:12] = 1
    localization = score_localization(maps, masks, np.zeros(400, dtype=int), np.zeros(400, dtype=int))
    assert localization.roc_auc.mean() == pytest.approx(50, abs=1)
    assert localization.point_accuracy.mean() == pytest.approx(25, abs=7)  # the object covers a quarter
