"""The evaluation part of a data set as networks see it: framed images, their labels, and the scored pairs."""

from functools import cached_property

import numpy as np
import torch

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Pairs, evaluation_images, scored_pairs
from attribution_preservation.data.store import Store


class EvaluationSet:
    """The evaluation images of a data set and the pairs of an image and a class that are scored.

    Args:
        store: the data set.
        framing: how an image becomes the square input of a network.

    Attributes:
        store, framing: see above.
        positions: positions of the N evaluation images in the data set.
        pairs: the scored pairs.

    Raises:
        UserError: no image has a mask.
    """

    def __init__(self, store: Store, framing: Framing) -> None:
        self.store, self.framing = store, framing
        self.positions = store.part("val")
        self.pairs: Pairs = scored_pairs(store, self.positions, framing)

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels of all evaluation images: multi-label vectors [N, C], or class indices [N], -1 if unknown."""
        return self.store.labels(self.positions)

    def images(self, workers: int = 0) -> torch.Tensor:
        """All evaluation images as networks see them, uint8 [N, 3, S, S]; `workers` more threads decode them."""
        return evaluation_images(self.store, self.positions, self.framing, workers)

    def picture(self, pair: int) -> np.ndarray:
        """A pair's image as networks see it, uint8 [S, S, 3]."""
        image = evaluation_images(self.store, [self.positions[self.pairs.image[pair]]], self.framing)[0]
        return image.permute(1, 2, 0).numpy()
