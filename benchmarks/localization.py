"""How fast maps are scored, against scikit-learn's `roc_curve` and `auc` called per map; one thread."""

import statistics
import time

import numpy as np
import sklearn.metrics

from attribution_preservation.metrics.localization import VOID, roc_auc_score
from benchmarks.measurement import Figure

SIZE, MAPS, ROUNDS = 227, 20, 5
TARGET = 4.0
EXACTNESS = 1e-9


def measure() -> list[Figure]:
    """Speed on upsampled maps with and without negative values, and the largest difference, ties and void included."""
    figures = []
    for name, signed in (("non_negative", False), ("signed", True)):
        maps, masks = scenes(signed)
        ratios, differences = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            ours = [_ours(values, mask) for values, mask in zip(maps, masks, strict=True)]
            middle = time.perf_counter()
            theirs = [_theirs(values, mask) for values, mask in zip(maps, masks, strict=True)]
            ratios.append((time.perf_counter() - middle) / (middle - start))
            differences.append(max(abs(a - b) for a, b in zip(ours, theirs, strict=True)))
        spread = (min(ratios), max(ratios))
        ratio = statistics.median(ratios)
        figures.append(Figure(f"roc_auc_over_sklearn_{name}", ratio, "ratio", "higher", TARGET, spread))
        difference = max(differences)
        figures.append(Figure(f"roc_auc_difference_{name}", difference, "share", "lower", EXACTNESS))
    return figures


def scenes(signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Maps with many equal values and masks with void pixels, both [MAPS, SIZE, SIZE]."""
    random = np.random.default_rng(0)
    maps = random.standard_normal((MAPS, SIZE, SIZE)).astype(np.float32)
    maps = np.where(random.random(maps.shape) < 0.2, np.float32(0), maps)
    masks = np.zeros(maps.shape, dtype=np.uint8)
    for mask, (top, left) in zip(masks, random.integers(10, 110, (MAPS, 2)), strict=True):
        mask[top - 3 : top + 103, left - 3 : left + 83] = VOID
        mask[top : top + 100, left : left + 80] = 1
    return (maps if signed else np.abs(maps)), masks


def _ours(values: np.ndarray, mask: np.ndarray) -> float:
    positive = mask == 1
    return roc_auc_score(values[positive], values[~positive & (mask != VOID)])


def _theirs(values: np.ndarray, mask: np.ndarray) -> float:
    known = mask != VOID
    false_positive, true_positive, _ = sklearn.metrics.roc_curve(mask[known] == 1, values[known])
    return float(sklearn.metrics.auc(false_positive, true_positive))
