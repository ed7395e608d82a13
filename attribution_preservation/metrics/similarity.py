"""How alike are two networks' maps of the same (image, class) pairs, before upsampling?"""

import numpy as np
from scipy.stats import rankdata


def cosine(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """<Ms, Mt> / (|Ms| |Mt|) per pair; 0 where one map is zero everywhere, 1 where both are.

    Args:
        student, teacher: maps [P, h, w].

    Returns:
        float64 [P].

    Source: supplement C.3.
    """
    s, t = _normalized(student), _normalized(teacher)
    both_zero = ~s.any(axis=1) & ~t.any(axis=1)
    return np.where(both_zero, 1.0, np.einsum("pi,pi->p", s, t))


def correlation(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Pearson's correlation per pair; a constant map counts as zero does in `cosine`.

    A constant that all maps of a method share (RISE's, whose masks let half of the image through) brings every cosine
    close to 1. It does not count here.

    Args:
        student, teacher: maps [P, h, w].

    Returns:
        float64 [P].
    """
    return cosine(_centred(student), _centred(teacher))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation per pair; a constant map counts as in `correlation`.

    Args:
        first, second: maps [P, h, w].

    Returns:
        float64 [P].
    """
    ranked = [rankdata(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape) for maps in (first, second)]
    return correlation(*ranked)


def l2_distance(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """|Ms / |Ms| - Mt / |Mt||_2 per pair; 1 where one map is zero everywhere, 0 where both are.

    Args:
        student, teacher: maps [P, h, w].

    Returns:
        float64 [P]; sqrt(2 (1 - cosine)) where neither map is zero.

    Source: supplement C.3.
    """
    return np.linalg.norm(_normalized(student) - _normalized(teacher), axis=1)


def _centred(maps: np.ndarray) -> np.ndarray:
    maps = maps.astype(np.float64)
    constant = np.ptp(maps, axis=(1, 2), keepdims=True) == 0  # whose mean is not exact, and would leave noise
    return np.where(constant, 0.0, maps - maps.mean(axis=(1, 2), keepdims=True))


def _normalized(maps: np.ndarray) -> np.ndarray:
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 0)
