"""Random images of VOC's usual size or another, for measurements of time, which do not depend on the content."""

import numpy as np

_DIFFERENT = 64
HEIGHT, WIDTH, CLASSES = 375, 500, 20


class Photographs:
    """A data set of random bytes, as `attribution_preservation.data.store.Images` describes one.

    Args:
        count: of training images.
        height, width: of each.
        classes: of their labels.
    """

    def __init__(self, count: int, height: int = HEIGHT, width: int = WIDTH, classes: int = CLASSES) -> None:
        random = np.random.default_rng(0)
        self._count = count
        self._images = random.integers(0, 256, (min(count, _DIFFERENT), height, width, 3), dtype=np.uint8)
        self._labels = random.integers(0, 2, (count, classes)).astype(np.float32)

    def part(self, name: str) -> list[int]:
        """All of them are for training."""
        return list(range(self._count)) if name == "train" else []

    def labels(self, positions: list[int]) -> np.ndarray:
        """float32 [N, C] of 0 and 1."""
        return self._labels[positions]

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [H, W, 3]."""
        return self._images[position % len(self._images)]
