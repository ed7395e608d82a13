"""Prediction scores on a toy worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from attribution_preservation.metrics.prediction import f1, mean_ap, sample_ap

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
