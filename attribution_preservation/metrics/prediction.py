"""Scores of predictions, in percent; multi-label scores as scikit-learn defines them."""

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.metrics import average_precision_score, f1_score


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
    """Mean of `image_ap` over images, in percent: the released code's "mAP"."""
    return float(image_ap(logits, labels).mean())


def f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """F1 of the predictions logit > 0, mean over the classes that occur, in percent."""
    occurs = labels.any(axis=0)
    return 100.0 * float(f1_score(labels[:, occurs], logits[:, occurs] > 0, average="macro", zero_division=0.0))


def agreement(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Share of an image's classes on which two networks decide alike (logit > 0), in percent, [N].

    Args:
        student, teacher: logits [N, C].
    """
    return 100.0 * ((student > 0) == (teacher > 0)).mean(axis=1)


def divergence(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence KL(teacher || student) of each class's Bernoulli distribution.

    Args:
        student, teacher: logits [N, C].

    Returns:
        Nats, [N, C]; non-negative, and finite for any finite logits.
    """
    student, teacher = student.astype(np.float64), teacher.astype(np.float64)
    p = expit(teacher)
    yes = p * (log_expit(teacher) - log_expit(student))
    no = (1 - p) * (log_expit(-teacher) - log_expit(-student))
    return yes + no


def of_labels(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the shape of logits [N, C] fits labels, which are vectors [N, C] or class indices [N]."""
    return logits.ndim == 2 and logits.shape[: labels.ndim] == labels.shape


def top1(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the top class of each image is its label, in percent: 100 or 0, [N]; NaN if the label is unknown.

    Args:
        logits: [N, C].
        labels: class indices, -1 where unknown, [N].
    """
    return np.where(labels < 0, np.nan, 100.0 * (logits.argmax(axis=1) == labels))


def same_top(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Whether two networks have the same top class, in percent: 100 or 0, [N].

    Args:
        student, teacher: logits [N, C].
    """
    return 100.0 * (student.argmax(axis=1) == teacher.argmax(axis=1))


def exclusive_divergence(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence KL(teacher || student) of the distribution over classes that exclude each other.

    Args:
        student, teacher: logits [N, C].

    Returns:
        Nats, [N].
    """
    divergences = np.empty(len(teacher))
    for start in range(0, len(teacher), 1024):  # float64 in parts, because there may be 10^8 logits
        part = slice(start, start + 1024)
        ours, theirs = (log_softmax(of[part].astype(np.float64), axis=1) for of in (student, teacher))
        divergences[part] = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    return divergences


def image_ap(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each image over its classes, in percent, [N]; 100 for an image without classes.

    The mean over images is label ranking average precision, ties included. scikit-learn returns only the mean and
    loops over images. That loop took half of the time of scoring a network's maps.
    """
    holds = labels.astype(bool)
    # For every class: the classes that are ranked at least as high.
    above = logits[:, None, :] >= logits[:, :, None]
    precision = (above & holds[:, None, :]).sum(axis=2) / above.sum(axis=2)
    classes = holds.sum(axis=1)
    return 100.0 * np.where(classes > 0, (precision * holds).sum(axis=1) / np.maximum(classes, 1), 1.0)


def resampled_mean_ap(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`mean_ap` of many samples of the same images. scikit-learn takes one sample at a time and sorts each again.

    Args:
        logits: [N, C].
        labels: 0 or 1, [N, C].
        weights: number of times that each image occurs in each sample, [R, N].

    Returns:
        Percent, [R]: the mean over the classes that occur in the row's images; NaN if none occurs.
    """
    precision, occurs = np.zeros(len(weights)), np.zeros(len(weights))
    # float32 counts are exact up to 2^24 images, so the order of additions in a matrix product does not matter.
    weights = weights.astype(np.float32)
    for scores, truth in zip(logits.T, labels.T, strict=True):
        # Recall rises at the scores of images with the class. Precision is computed there, highest score first.
        thresholds = np.unique(scores[truth > 0])[::-1]
        above = (scores[:, None] >= thresholds).astype(np.float32)
        counted = weights @ np.concatenate([above, above * truth[:, None].astype(np.float32)], axis=1)
        predicted, right = np.split(counted.astype(np.float64), 2, axis=1)
        area = (np.diff(right, axis=1, prepend=0) * right / np.maximum(predicted, 1)).sum(axis=1)
        everyone = right[:, -1] if len(thresholds) else np.zeros(len(weights))
        precision += np.divide(area, everyone, out=np.zeros(len(weights)), where=everyone > 0)
        occurs += everyone > 0
    return 100.0 * np.divide(precision, occurs, out=np.full(len(weights), np.nan), where=occurs > 0)


def resampled_f1(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`f1` of many samples of the same images; arguments and result are as in `resampled_mean_ap`."""
    predicted, truth = logits > 0, labels.astype(bool)
    # Counts are exact in any order of additions.
    right, wrong = weights @ (predicted & truth), weights @ (predicted != truth)
    occurs = weights @ truth > 0
    counted = 2 * right + wrong
    scores = np.divide(2 * right, counted, out=np.zeros_like(counted), where=counted > 0)
    classes = occurs.sum(axis=1)
    total = np.where(occurs, scores, 0.0).sum(axis=1)
    return 100.0 * np.divide(total, classes, out=np.full(len(weights), np.nan), where=classes > 0)
