"""Similarity of maps by hand and by algebra."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine as scipy_cosine
from scipy.stats import pearsonr, spearmanr

from attribution_preservation.metrics.similarity import correlation, cosine, l2_distance, rank_correlation


def test_cosine_is_scipys():
    student, teacher = np.random.default_rng(0).random((2, 7, 3, 5))
    expected = [1 - scipy_cosine(s.ravel(), t.ravel()) for s, t in zip(student, teacher, strict=True)]
    np.testing.assert_allclose(cosine(student, teacher), expected, atol=1e-12)


def test_correlation_is_scipys():
    student, teacher = np.random.default_rng(3).random((2, 7, 3, 5))
    expected = [pearsonr(s.ravel(), t.ravel()).statistic for s, t in zip(student, teacher, strict=True)]
    np.testing.assert_allclose(correlation(student, teacher), expected, atol=1e-12)


def test_rank_correlation_is_scipys_with_ties():
    first, second = np.random.default_rng(5).integers(0, 6, (2, 7, 3, 5)).astype(np.float32)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), expected, atol=1e-12)


def test_a_shared_constant_brings_the_cosine_to_one_and_leaves_the_correlation():
    student, teacher = np.random.default_rng(4).random((2, 5, 4, 4))
    assert (cosine(student + 100, teacher + 100) > 0.9999).all()
    np.testing.assert_allclose(correlation(student + 100, teacher + 100), correlation(student, teacher), atol=1e-9)


def test_correlation_of_constant_maps():
    constant, some = np.full((1, 3, 3), 0.1, dtype=np.float32), np.arange(9.0).reshape(1, 3, 3)
    assert correlation(constant, some)[0] == 0
    assert correlation(constant, 2 * constant)[0] == 1


def test_l2_worked_by_hand():
    student, teacher = np.array([[[3.0, 4.0]]]), np.array([[[8.0, 6.0]]])
    # (0.6, 0.8) - (0.8, 0.6)
    assert l2_distance(student, teacher)[0] == pytest.approx(np.sqrt(0.08))


def test_l2_and_cosine_are_two_views_of_one_angle():
    student, teacher = np.random.default_rng(1).random((2, 50, 4, 4))
    np.testing.assert_allclose(l2_distance(student, teacher), np.sqrt(2 * (1 - cosine(student, teacher))), atol=1e-9)
    # The published example: at cosine 0.975 the formula gives 0.22, not 1.6e-5.
    assert np.sqrt(2 * (1 - 0.975)) == pytest.approx(0.22, abs=0.005)


def test_scale_does_not_matter():
    student, teacher = np.random.default_rng(2).random((2, 5, 4, 4))
    np.testing.assert_allclose(cosine(student * 9, teacher / 7), cosine(student, teacher))


def test_maps_of_zeros():
    zero, some = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    assert (cosine(zero, some)[0], l2_distance(zero, some)[0]) == (0, 1)
    assert (cosine(some, zero)[0], l2_distance(some, zero)[0]) == (0, 1)
    assert (cosine(zero, zero)[0], l2_distance(zero, zero)[0]) == (1, 0)
