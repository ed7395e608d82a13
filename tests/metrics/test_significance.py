"""A paired test over images and seeds: beside scipy where one of them does not vary, and its errors where both do."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from attribution_preservation.metrics.significance import image_weights, paired_test, resampled_means
from tests.conftest import PROJECT

RESAMPLES = 4000


def outcome(values, image=None, resamples=RESAMPLES, seed=0):
    """The test of differences [S, n] of n pairs, each on an image of its own where `image` does not say."""
    image = np.arange(values.shape[1]) if image is None else image
    weights = image_weights(image.max() + 1, resamples, seed)
    return paired_test(resampled_means(values.T, image, weights), len(np.unique(image)), seed)


def test_where_images_do_not_differ_it_is_the_t_test_over_seeds():
    seeds = np.array([0.4, 1.1, 0.9, 0.2])
    paired = outcome(np.repeat(seeds[:, None], 50, axis=1), resamples=100_000)
    expected = stats.ttest_1samp(seeds, 0.0)
    assert paired.difference == pytest.approx(seeds.mean())
    assert paired.p == pytest.approx(expected.pvalue, rel=0.02)
    interval = expected.confidence_interval()
    assert (paired.low, paired.high) == (pytest.approx(interval.low, abs=0.01), pytest.approx(interval.high, abs=0.01))


def test_where_seeds_do_not_differ_it_is_the_t_test_over_images():
    images = np.random.default_rng(0).normal(0.2, 1.0, 60)
    paired = outcome(np.repeat(images[None], 3, axis=0), resamples=100_000)
    expected = stats.ttest_1samp(images, 0.0)
    assert paired.p == pytest.approx(expected.pvalue, rel=0.03)
    interval = expected.confidence_interval()
    assert (paired.low, paired.high) == (pytest.approx(interval.low, abs=0.01), pytest.approx(interval.high, abs=0.01))


def test_pairs_of_one_image_count_as_one():
    # Every image four times: four times as many pairs, and not a bit surer.
    images = np.random.default_rng(1).normal(0.2, 1.0, 60)
    once = outcome(np.repeat(images[None], 3, axis=0))
    often = outcome(np.repeat(np.repeat(images, 4)[None], 3, axis=0), image=np.repeat(np.arange(60), 4))
    assert (often.low, often.high, often.p) == pytest.approx((once.low, once.high, once.p))


@pytest.mark.parametrize(("of_seeds", "of_images"), [(1.0, 0.0), (0.2, 2.0), (0.3, 1.0), (0.0, 1.0)])
def test_chance_alone_is_rarely_called_a_difference(of_seeds, of_images):
    # Three seeds; a percentile bootstrap calls a quarter of these different where seeds differ most.
    generator = np.random.default_rng(2)
    trials, wrong, missed = 300, 0, 0
    for trial in range(trials):
        values = generator.normal(0, of_seeds, (3, 1)) + generator.normal(0, of_images, (1, 40))
        paired = outcome(values + generator.normal(0, 0.5, (3, 40)), resamples=300, seed=trial)
        wrong += paired.p < 0.05
        missed += not paired.low < 0 < paired.high
    assert wrong == missed  # the interval and p say the same
    # At most 5 % in the long run: more than 26 of 300 would come once in a hundred times.
    assert wrong <= stats.binom.ppf(0.99, trials, 0.05)


def test_a_difference_that_is_there_is_found():
    generator = np.random.default_rng(3)
    paired = outcome(0.5 + generator.normal(0, 0.05, (3, 1)) + generator.normal(0, 0.5, (3, 100)))
    assert paired.p < 0.01
    assert paired.low < 0.5 < paired.high


def test_under_three_seeds_there_is_no_test():
    paired = outcome(np.random.default_rng(4).normal(1, 0.1, (2, 50)))
    assert paired.difference == pytest.approx(1, abs=0.1)
    assert np.isnan([paired.low, paired.high, paired.p]).all()
    assert paired.seeds == 2


def test_on_few_images_there_is_a_difference_but_no_test():
    values = np.random.default_rng(5).normal(1, 0.1, (3, 9))
    paired = outcome(values)
    assert paired.difference == pytest.approx(values.mean())
    assert np.isnan(paired.p)


def test_a_seed_without_pairs_does_not_count():
    values = np.random.default_rng(6).normal(1, 0.1, (4, 50))
    values[2] = np.nan
    assert outcome(values).seeds == 3
    assert outcome(np.full((2, 20), np.nan)).seeds == 0


def test_networks_that_score_alike_do_not_differ():
    paired = outcome(np.zeros((3, 50)))
    assert (paired.difference, paired.low, paired.high, paired.p) == (0, 0, 0, 1)


def test_a_pair_without_a_score_does_not_count():
    values = np.stack([np.append(np.ones(30), np.nan), np.arange(31.0)], axis=1)
    weights = image_weights(31, 20, 0)
    means = resampled_means(values, np.arange(31), weights)
    assert means[:, 0] == pytest.approx(np.ones(21))
    assert means[:, 1] == pytest.approx([np.average(np.arange(31), weights=row) for row in weights])


def test_one_image_cannot_be_resampled():
    with pytest.raises(ValueError, match="one image"):
        image_weights(1, 10, 0)


def scores_of_images(images=97, metrics=6, seed=7):
    """Scores of very different sizes and signs, and how often each image is drawn."""
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 1, (images, metrics)) * np.logspace(-9, 6, metrics)
    return values, image_weights(images, 50, seed)


def test_a_mean_is_the_exact_sum_rounded_once():
    values, weights = scores_of_images()
    means = resampled_means(values, np.arange(len(values)), weights)
    for row, of_row in zip(weights, means, strict=True):
        for column, mean in zip(values.T, of_row, strict=True):
            exact = sum(Fraction(w) * Fraction(v) for w, v in zip(row, column, strict=True))
            # One rounding of the sum, one of the division.
            assert abs(Fraction(mean) - exact / int(row.sum())) <= 2 * Fraction(float(np.spacing(abs(mean))))


def test_the_order_of_images_changes_no_bit_of_a_mean():
    values, weights = scores_of_images()
    means = resampled_means(values, np.arange(len(values)), weights)
    generator = np.random.default_rng(8)
    for _ in range(5):
        order = generator.permutation(len(values))
        permuted = resampled_means(values[order], np.arange(len(values)), weights[:, order])
        assert permuted.tobytes() == means.tobytes()


@pytest.mark.parametrize("scale", [0.0, 5e-324, 1e-300, 1e300])
def test_scores_of_any_size_have_their_mean(scale):
    values, weights = scores_of_images()
    values = values / np.abs(values).max(axis=0) * scale
    expected = np.array([np.average(values, axis=0, weights=row / row.sum()) for row in weights])
    assert resampled_means(values, np.arange(len(values)), weights) == pytest.approx(expected, rel=1e-9, abs=1e-290)


PROGRAM = """
import numpy as np
from attribution_preservation.metrics.prediction import resampled_f1, resampled_mean_ap
from tests.metrics.test_significance import paired_test, resampled_means, scores_of_images
values, weights = scores_of_images(300, 40)
logits, labels = values[:, :20], values[:, 20:] > 0
scores = [
    resampled_means(values, np.arange(300), weights),
    *(score(logits, labels, weights)[:, None] for score in (resampled_mean_ap, resampled_f1)),
]
of_seeds = np.concatenate(scores, axis=1)[:, :39].reshape(len(weights), 13, 3)  # as differences of three seeds
tests = [paired_test(of_seeds[:, metric], 300, 0) for metric in range(13)]
print(*(found.tobytes().hex() for found in scores), [vars(test) for test in tests])
"""


def computed(**variables):
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=os.environ | variables, cwd=PROJECT, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def computed_here():
    return computed()


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("kernel", ["Prescott", "Haswell", "SkylakeX"])
def test_no_bit_depends_on_the_kernel_or_the_threads_of_matrix_products(kernel, threads, computed_here):
    assert computed(OPENBLAS_CORETYPE=kernel, OPENBLAS_NUM_THREADS=threads) == computed_here
