"""Similarity of two networks' maps of the same (image, class) pairs, before upsampling."""

import numpy as np
from scipy.stats import rankdata


def cosine(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """<Ms, Mt> / (|Ms| |Mt|) per pair; 0 if one map is zero everywhere, 1 if both are.

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
    """Pearson's correlation per pair; a constant map is treated as a zero map is in `cosine`.

    RISE's masks show half of the image, so all its maps share a constant. Such a constant brings every cosine close
    to 1, but does not change the correlation.

    Args:
        student, teacher: maps [P, h, w].

    Returns:
        float64 [P].
    """
    return cosine(_centred(student), _centred(teacher))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation per pair; a constant map is treated as in `correlation`.

    Args:
        first, second: maps [P, h, w].

    Returns:
        float64 [P].
    """
    ranked = [rankdata(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape) for maps in (first, second)]
    return correlation(*ranked)


def l2_distance(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """|Ms / |Ms| - Mt / |Mt||_2 per pair; 1 if one map is zero everywhere, 0 if both are.

    Args:
        student, teacher: maps [P, h, w].

    Returns:
        float64 [P]; equal to sqrt(2 (1 - cosine)) if neither map is zero.

    Source: supplement C.3.
    """
    return np.linalg.norm(_normalized(student) - _normalized(teacher), axis=1)


def _centred(maps: np.ndarray) -> np.ndarray:
    maps = maps.astype(np.float64)
    constant = np.ptp(maps, axis=(1, 2), keepdims=True) == 0  # their mean is rounded, so subtracting it leaves noise
    return np.where(constant, 0.0, maps - maps.mean(axis=(1, 2), keepdims=True))


def _normalized(maps: np.ndarray) -> np.ndarray:
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 0)
