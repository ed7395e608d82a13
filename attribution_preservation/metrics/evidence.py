"""Evidence of a network: its attribution maps and its logits."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Maps:
    """Maps of one network by one attribution method.

    Attributes:
        values: maps, [n, h, w].
        pairs: positions of the scored pairs that they explain, int64 [n].
        absorbed: absorbed share of the relevance, in percent, [n]; None for a method without relevance.
    """

    values: np.ndarray
    pairs: np.ndarray
    absorbed: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """Maps, logits and sizes of one network.

    Attributes:
        maps: maps by attribution method.
        logits: logits of all evaluation images, [N, C].
        sizes: metrics of the network that need no images, by metric name.
        sparsity: share of pruned weights; None if nothing was pruned.
    """

    maps: dict[str, Maps]
    logits: np.ndarray
    sizes: dict[str, int]
    sparsity: float | None
