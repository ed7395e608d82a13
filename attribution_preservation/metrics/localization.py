"""Does a map point at the object? Scores of one map against one class's pixels, void left out."""

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
        roc_auc: in percent, [P]; NaN where an object leaves no background, so that no curve exists.
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
        maps: [P, h, w], finite; brought to the masks' size first.
        masks: class masks uint8 [N, S, S]: 0 background, k + 1 for class k, 255 void.
        mask_row: row of each pair's mask, [P].
        label: each pair's class from 0, [P].

    Raises:
        ValueError: a map is not finite, or a pair's class is not in its mask.

    Source: supplement C.3; the pointing game's list of hits is per pair, and void is neither object nor background
    (both were defects of the released evaluation).
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

    Args:
        positive, negative: scores of the two kinds of pixels, each [n]; NaN where one of them is empty.
    """
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below.sum(dtype=np.int64) + not_above.sum(dtype=np.int64)) / (2 * len(positive) * len(negative)))


def points_at(values: np.ndarray, positive: np.ndarray, valid: np.ndarray) -> bool:
    """Whether the map's maximum over valid pixels lies on the object; the first maximum in row-major order counts."""
    return bool(positive.ravel()[np.argmax(np.where(valid, values, -np.inf))])


def centre_map(size: int) -> np.ndarray:
    """A Gaussian blob in the middle, standard deviation a quarter of the side: what a map that never looks scores."""
    offsets = (np.arange(size) + 0.5) / size - 0.5
    profile = np.exp(-0.5 * (offsets / 0.25) ** 2)
    return np.outer(profile, profile).astype(np.float32)


def random_maps(count: int, size: int, seed: int) -> np.ndarray:
    """Independent uniform values in every pixel, [count, size, size]."""
    return np.random.default_rng(seed).random((count, size, size), dtype=np.float32)
