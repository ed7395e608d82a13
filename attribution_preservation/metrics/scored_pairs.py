"""The scored (image, class) pairs and their labels: which pairs a network predicts, and how predictions differ.

If an image may have several classes, its pairs are the classes in its mask. If classes exclude each other, a network's
top class is explained (supplement B), so the pairs depend on the network. Every image then counts twice: first with the
teacher's top class, which is the same for every network, then with the network's own top class.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from attribution_preservation.metrics.localization import score_localization
from attribution_preservation.metrics.prediction import (
    agreement,
    divergence,
    exclusive_divergence,
    f1,
    mean_ap,
    same_top,
    sample_ap,
    top1,
)


@dataclass(frozen=True)
class ScoredPairs(ABC):
    """Pairs, masks and labels.

    Attributes:
        image: image row of each pair, int64 [P].
        inside: class of each pair's object in the masks, from 0, int64 [P].
        masks, mask_row: class masks uint8 [M, S, S], and each pair's row in them, [P].
        labels: labels of all evaluation images: multi-label vectors [N, C], or class indices [N], -1 if unknown.
    """

    image: np.ndarray
    inside: np.ndarray
    masks: np.ndarray
    mask_row: np.ndarray
    labels: np.ndarray

    @property
    def exclusive(self) -> bool:
        """Whether an image has one class, so that each network's own top class is explained."""
        return self.labels.ndim == 1

    def take(self, chosen: np.ndarray) -> Self:
        """The pairs at the positions `chosen` [n], in that order, for `localize`."""
        return replace(self, image=self.image[chosen], inside=self.inside[chosen], mask_row=self.mask_row[chosen])

    def localize(self, maps: np.ndarray) -> dict[str, np.ndarray]:
        """Localisation scores of maps [P, h, w] by metric, each [P]."""
        scores = score_localization(maps, self.masks, self.mask_row, self.inside)
        zero = scores.zero_map.astype(np.float64)
        return {"roc_auc": scores.roc_auc, "point_accuracy": scores.point_accuracy, "zero_maps": zero}

    @property
    @abstractmethod
    def all(self) -> np.ndarray:
        """Pairs that are the same for every network, bool [P]. Only their maps are compared between networks."""

    @abstractmethod
    def own(self, logits: np.ndarray) -> np.ndarray:
        """Pairs that a network with these logits [N, C] predicts, bool [P]."""

    @abstractmethod
    def common(self, logits: Iterable[np.ndarray]) -> np.ndarray:
        """Pairs that are the same for every network and that all networks with these logits predict, bool [P]."""

    @abstractmethod
    def predictions(self, logits: np.ndarray) -> dict[str, float]:
        """Scores of a network's predictions over all images together, by metric."""

    @abstractmethod
    def again(self, logits: np.ndarray) -> np.ndarray:
        """The logits [N, C] that scores of resampled images need; [N, 0] if they need none."""

    @abstractmethod
    def of_images(self, logits: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of a network's predictions for each image, by metric, [N]; NaN if an image has no score."""

    @abstractmethod
    def beside(self, student: np.ndarray, teacher: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Differences between a student's and its teacher's predictions: by metric [N], and divergence per pair, [P].

        Args:
            student, teacher: logits [N, C].
        """


@dataclass(frozen=True)
class LabelPairs(ScoredPairs):
    """Pairs of an image and each class in its mask. `inside` is also the class of the logit."""

    @property
    def all(self) -> np.ndarray:
        """Every pair."""
        return np.ones(len(self.image), dtype=bool)

    def own(self, logits: np.ndarray) -> np.ndarray:
        """Pairs whose logit is above 0."""
        return logits[self.image, self.inside] > 0

    def common(self, logits: Iterable[np.ndarray]) -> np.ndarray:
        """Pairs whose logit is above 0 in every network."""
        return np.logical_and.reduce([self.own(of_network) for of_network in logits])

    def predictions(self, logits: np.ndarray) -> dict[str, float]:
        """mAP, sample AP and F1 of all images."""
        scores = {"mean_ap": mean_ap, "sample_ap": sample_ap, "f1": f1}
        return {metric: score(logits, self.labels) for metric, score in scores.items()}

    def again(self, logits: np.ndarray) -> np.ndarray:
        """All logits, because mAP ranks images."""
        return logits

    def of_images(self, logits: np.ndarray) -> dict[str, np.ndarray]:
        """No scores."""
        return {}

    def beside(self, student: np.ndarray, teacher: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Agreement and divergence as means over an image's classes, and divergence of each pair's class."""
        apart = divergence(student, teacher)
        of_images = {"agreement": agreement(student, teacher), "divergence": apart.mean(axis=1)}
        return of_images, apart[self.image, self.inside]


@dataclass(frozen=True)
class TopPairs(ScoredPairs):
    """Every masked image twice: first half with the teacher's top class, second half with the network's own."""

    @property
    def all(self) -> np.ndarray:
        """The first half."""
        return np.arange(len(self.image)) < len(self.image) // 2

    def own(self, logits: np.ndarray) -> np.ndarray:
        """The second half: every network predicts its own top class."""
        return ~self.all

    def common(self, logits: Iterable[np.ndarray]) -> np.ndarray:
        """The images of the first half for which all networks have the same top class."""
        tops = np.stack([of_network.argmax(axis=1) for of_network in logits])
        return self.all & (tops == tops[0]).all(axis=0)[self.image]

    def predictions(self, logits: np.ndarray) -> dict[str, float]:
        """No scores."""
        return {}

    def again(self, logits: np.ndarray) -> np.ndarray:
        """No logits, because every score is a mean over images."""
        return logits[:, :0]

    def of_images(self, logits: np.ndarray) -> dict[str, np.ndarray]:
        """Whether the top class is right, for images whose class is known."""
        return {"top1": top1(logits, self.labels)}

    def beside(self, student: np.ndarray, teacher: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Agreement of the top class, and divergence."""
        apart = exclusive_divergence(student, teacher)
        of_images = {"agreement": same_top(student, teacher), "divergence": apart}
        return of_images, apart[self.image]


def scored_truth(
    image: np.ndarray, label: np.ndarray | None, masks: np.ndarray, mask_row: np.ndarray, labels: np.ndarray
) -> ScoredPairs:
    """The pairs of a data set with the labels of its evaluation images.

    Args:
        image, label, masks, mask_row: the attributes of `attribution_preservation.data.inputs.Pairs`.
        labels: see `ScoredPairs`.
    """
    if label is None:
        return TopPairs(image, np.zeros(len(image), dtype=np.int64), masks, mask_row, labels)
    return LabelPairs(image, label, masks, mask_row, labels)
