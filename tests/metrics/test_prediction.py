"""Prediction scores on a toy worked by hand."""

import numpy as np
import pytest
from scipy.special import expit, rel_entr
from sklearn.metrics import average_precision_score, f1_score, label_ranking_average_precision_score

from attribution_preservation.metrics.prediction import (
    agreement,
    divergence,
    f1,
    image_ap,
    mean_ap,
    resampled_f1,
    resampled_mean_ap,
    sample_ap,
)

LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
LOGITS = np.array([[2.0, 1.0, -3.0], [3.0, 0.5, -1.0], [1.0, 2.0, -2.0]])


def test_mean_ap_is_the_mean_over_classes_that_occur():
    # Class 0 ranks images 1, 0, 2, of which 0 and 2 are positive: (1/2 + 2/3) / 2.
    # Class 1 ranks images 2, 0, 1, of which 1 and 2 are positive: (1 + 2/3) / 2.
    assert mean_ap(LOGITS, LABELS) == pytest.approx(100 * ((1 / 2 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2)


def test_sample_ap_is_the_mean_over_images():
    # Image 0 ranks its class first: 1. Image 1 ranks class 1 second: 1/2. Image 2 ranks both of its classes first: 1.
    assert sample_ap(LOGITS, LABELS) == pytest.approx(100 * (1 + 1 / 2 + 1) / 3)


def test_f1_counts_what_is_above_zero():
    # Classes 0 and 1: everything is predicted, two of three are right: precision 2/3, recall 1.
    assert f1(LOGITS, LABELS) == pytest.approx(100 * 0.8)
    assert f1(LOGITS - 10, LABELS) == 0


def test_sample_ap_is_average_precision_over_samples_ties_included():
    generator = np.random.default_rng(0)
    logits = generator.integers(-3, 4, (50, 7)).astype(float)  # many ties
    labels = generator.integers(0, 2, (50, 7))
    labels[labels.sum(1) == 0, 3] = 1
    expected = average_precision_score(labels, logits, average="samples")
    assert sample_ap(logits, labels) == pytest.approx(100 * expected)


def many_ties(images=40, classes=5):
    generator = np.random.default_rng(1)
    logits = generator.integers(-3, 4, (images, classes)).astype(float)
    labels = generator.integers(0, 2, (images, classes))
    labels[:, -1] = 0  # a class that does not occur
    labels[labels.sum(1) == 0, 0] = 1
    return logits, labels, generator.multinomial(images, np.full(images, 1 / images), size=6).astype(float)


def test_image_ap_is_label_ranking_average_precision_of_one_image():
    logits, labels, _ = many_ties()
    labels[7] = 0  # an image without any class
    both = zip(labels, logits, strict=True)
    expected = [100 * label_ranking_average_precision_score(label[None], logit[None]) for label, logit in both]
    assert image_ap(logits, labels) == pytest.approx(np.array(expected))


def test_resampled_scores_are_scikit_learns_with_weights():
    logits, labels, weights = many_ties()
    for row, (ap, harmonic) in zip(
        weights,
        zip(resampled_mean_ap(logits, labels, weights), resampled_f1(logits, labels, weights), strict=True),
        strict=True,
    ):
        occurring = labels[:, :-1]
        assert ap == pytest.approx(100 * average_precision_score(occurring, logits[:, :-1], sample_weight=row))
        expected = f1_score(occurring, logits[:, :-1] > 0, average="macro", sample_weight=row)
        assert harmonic == pytest.approx(100 * expected)


def test_the_whole_set_scores_as_without_resampling():
    logits, labels, _ = many_ties()
    once = np.ones((1, len(logits)))
    assert resampled_mean_ap(logits, labels, once)[0] == pytest.approx(mean_ap(logits, labels))
    assert resampled_f1(logits, labels, once)[0] == pytest.approx(f1(logits, labels))


def test_a_sample_without_a_class_is_averaged_over_the_others():
    # Image 1 alone holds class 1; a sample without it knows class 0 alone, ranked perfectly, and class 2 in none.
    logits, labels = np.array([[2.0, 1.0], [-1.0, 3.0], [1.0, -2.0]]), np.array([[1, 0], [0, 1], [1, 0]])
    weights = np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert resampled_mean_ap(logits, labels, weights) == pytest.approx([100.0, np.nan], nan_ok=True)
    assert resampled_f1(logits, labels, weights) == pytest.approx([100.0, np.nan], nan_ok=True)


def test_networks_agree_where_they_decide_alike():
    teacher = np.array([[1.0, -1.0], [2.0, 3.0]])
    assert agreement(np.array([[0.1, 0.1], [5.0, 0.2]]), teacher).tolist() == [50, 100]
    assert agreement(teacher, teacher).tolist() == [100, 100]


def test_divergence_is_scipys_relative_entropy_of_each_class():
    generator = np.random.default_rng(2)
    student, teacher = generator.normal(0, 3, (2, 5, 4))
    p, q = expit(teacher), expit(student)
    expected = rel_entr(p, q) + rel_entr(1 - p, 1 - q)
    assert divergence(student, teacher) == pytest.approx(expected, rel=1e-9)
    assert divergence(teacher, teacher) == pytest.approx(np.zeros((5, 4)))


def test_divergence_of_certain_networks_is_finite():
    # The teacher is sure, the student of the opposite: log(1 / q) = 1000 nats.
    assert divergence(np.array([[-1000.0]]), np.array([[1000.0]])) == pytest.approx(np.array([[1000.0]]))
