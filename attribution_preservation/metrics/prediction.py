"""How good are the predictions? Multi-label scores, in percent, by scikit-learn."""

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, label_ranking_average_precision_score


def mean_ap(logits: np.ndarray, labels: np.ndarray) -> float:
    """Average precision per class over all images, mean over the classes that occur.

    Args:
        logits: [N, C].
        labels: 0 or 1, [N, C].

    Returns:
        Percent. Average precision is scikit-learn's sum over recall steps, without interpolation.
    """
    occurs = labels.any(axis=0)
    return 100.0 * float(average_precision_score(labels[:, occurs], logits[:, occurs], average="macro"))


def sample_ap(logits: np.ndarray, labels: np.ndarray) -> float:
    """Average precision per image over its classes, mean over images, in percent: the released code's "mAP".

    scikit-learn calls it label ranking average precision, ties included.
    """
    return 100.0 * float(label_ranking_average_precision_score(labels, logits))


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """F1 of the predictions logit > 0, mean over the classes that occur, in percent."""
    occurs = labels.any(axis=0)
    return 100.0 * float(f1_score(labels[:, occurs], logits[:, occurs] > 0, average="macro", zero_division=0.0))
