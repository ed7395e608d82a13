"""Localisation scores: how well a map separates one class's pixels from the others, without void pixels."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

VOID = 255
ZERO_MAP_AUC = 50.0


@dataclass(frozen=True)
class Localization:
    """Scores per pair.

    Attributes:
        roc_auc: in percent, [P]; NaN if the object leaves no background, because no ROC curve exists then.
        point_accuracy: 100 for a hit and 0 for a miss, [P].
        zero_map: whether the map is 0 everywhere, bool [P].
    """

    roc_auc: np.ndarray
    point_accuracy: np.ndarray
    zero_map: np.ndarray


def upsample(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps [P, h, w] at the masks' size, bilinear with align_corners=False, float32 [P, S, S]."""
    if maps.shape[1:] == (size, size):
        return maps
    return F.interpolate(torch.from_numpy(maps)[None], size=(size, size), mode="bilinear", align_corners=False)[
        0
    ].numpy()


def score_localization(maps: np.ndarray, masks: np.ndarray, mask_row: np.ndarray, label: np.ndarray) -> Localization:
    """Score maps of (image, class) pairs.

    Args:
        maps: [P, h, w], finite; they are first upsampled to the masks' size.
        masks: class masks uint8 [N, S, S]: 0 background, k + 1 for class k, 255 void.
        mask_row: row of each pair's mask, [P].
        label: each pair's class from 0, [P].

    Raises:
        ValueError: a map is not finite, or a pair's class is not in its mask.

    Source: supplement C.3. The pointing game counts hits per pair, and void is neither object nor background. The
    released evaluation has defects in both.
    """
    if not np.isfinite(maps).all():
        raise ValueError("a map holds a value that is not finite")
    roc_auc, hit = np.empty(len(maps)), np.empty(len(maps))
    zero_map = ~maps.any(axis=(1, 2))
    size = masks.shape[1]
    for start in range(0, len(maps), 256):  # upsampled maps of a whole evaluation set would not fit in memory
        stop = min(start + 256, len(maps))
        for pair, values in enumerate(upsample(maps[start:stop], size), start=start):
            mask = masks[mask_row[pair]]
            positive = mask == label[pair] + 1
            if not positive.any():
                raise ValueError(f"class {label[pair]} of pair {pair} is not in its mask")
            if zero_map[pair]:
                hit[pair], roc_auc[pair] = 0.0, ZERO_MAP_AUC
            else:
                hit[pair] = 100.0 * points_at(values, positive, mask != VOID)
                roc_auc[pair] = 100.0 * roc_auc_score(values[positive], values[~positive & (mask != VOID)])
    return Localization(roc_auc, hit, zero_map)


def roc_auc_score(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve, from 0 to 1, exact with ties: P(positive > negative) + P(equal) / 2.

    Each score is packed with its label into one integer, and the integers are sorted. This is many times faster than
    sorting floating-point scores with an index. Non-negative scores have a free bit, so 32 bits are enough for both.

    Args:
        positive, negative: scores of the two kinds of pixels, finite, [n]. They are rounded to float32.

    Returns:
        The area, or NaN if `positive` or `negative` is empty.
    """
    if not len(positive) or not len(negative):
        return float("nan")
    scores = np.concatenate([negative, positive]).astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
    packed = scores.view(np.uint32)
    if packed.max() >> 31:  # the sign bit: some score is negative
        # Map floats to integers in the same order: negative numbers are reversed and come below the others.
        packed = np.where(packed >> 31, ~packed, packed | np.uint32(1 << 31)).astype(np.uint64)
    packed = packed << np.ones((), packed.dtype)
    packed[len(negative) :] |= np.ones((), packed.dtype)
    packed.sort()
    label, score = packed & np.ones((), packed.dtype), packed >> np.ones((), packed.dtype)
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)  # last of each group of equal scores
    positives = np.cumsum(label, dtype=np.int64)[last]
    negatives = last + 1 - positives
    in_group, below = positives.copy(), np.zeros_like(negatives)
    in_group[1:] -= positives[:-1]
    below[1:] = negatives[:-1]
    twice = np.dot(in_group, negatives) + np.dot(in_group, below)
    return float(twice / (2 * len(positive) * len(negative)))


def points_at(values: np.ndarray, positive: np.ndarray, valid: np.ndarray) -> bool:
    """Whether the map's maximum over valid pixels is on the object; of equal maxima, the first (row-major) counts."""
    return bool(positive.ravel()[np.argmax(np.where(valid, values, -np.inf))])


def centre_map(size: int) -> np.ndarray:
    """A centred Gaussian blob whose standard deviation is a quarter of the side: a baseline that ignores the image."""
    offsets = (np.arange(size) + 0.5) / size - 0.5
    profile = np.exp(-0.5 * (offsets / 0.25) ** 2)
    return np.outer(profile, profile).astype(np.float32)


def random_maps(count: int, size: int, seed: int) -> np.ndarray:
    """Independent uniform values in every pixel, [count, size, size]."""
    return np.random.default_rng(seed).random((count, size, size), dtype=np.float32)
