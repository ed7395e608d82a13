"""Removes pixels in a map's order and measures the loss: are these the pixels on which a network's decision depends?

A removed pixel takes the mean colour of the data set, which has no information about the image. Source: Hooker et al.
2019, A benchmark for interpretability methods in deep neural networks, supplement.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from scipy.special import expit

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import evaluation_images, resize_images
from attribution_preservation.data.store import Store
from attribution_preservation.metrics.catalogue import at
from attribution_preservation.metrics.localization import upsample

_AT_ONCE = 256  # images that are processed at once


def ranks(values: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Rank of every pixel, from 0 for the most important one to the least important one, int64 [S, S].

    Equal values, for example zeros after a ReLU, are put in random order. Their order in memory would remove an image
    from top to bottom.

    Args:
        values: a map in the image's size, [S, S].
        seed: seed of the random order. An image needs the same seed for every share, so that the removed pixels of a
            small share are also removed for a larger one.
    """
    shuffled = np.random.default_rng(seed).permutation(values.size)
    places = np.empty(values.size, dtype=np.int64)
    places[shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]] = np.arange(values.size)
    return places.reshape(values.shape)


def removed(places: torch.Tensor, share: float, least: bool = False) -> torch.Tensor:
    """The pixels to remove, bool [B, S, S].

    Args:
        places: see `ranks`, [B, S, S].
        share: share of all pixels, from 0 to 1; rounded to whole pixels.
        least: remove the least important pixels instead of the most important ones.

    Raises:
        ValueError: the share is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    pixels = places[0].numel()
    count = round(share * pixels)
    return places >= pixels - count if least else places < count


def remove(images: torch.Tensor, pixels: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """Images in which the removed pixels have one colour.

    Args:
        images: [B, 3, S, S].
        pixels: the pixels to remove, bool [B, S, S].
        colour: [3], of the images' type.
    """
    return torch.where(pixels[:, None], colour.to(images)[:, None, None], images)


class RemovedPixels:
    """A data set whose images have lost their most important pixels. A classifier is retrained on it.

    All images are computed once and kept in memory for all epochs: 3 S^2 bytes each.

    Args:
        store: the original data set.
        places: for each image's position, the rank of every pixel of the framed image, see `ranks`, [S, S]. The data
            set has only these images.
        share: share of the pixels to remove, from 0 to 1.
        colour: colour of removed pixels, uint8 [3].
        framing: framing of the network's input.
        size: side to which images are reduced after the removal.
    """

    def __init__(
        self,
        store: Store,
        places: Mapping[int, np.ndarray],
        share: float,
        colour: np.ndarray,
        framing: Framing,
        size: int,
    ) -> None:
        self._store = store
        self._row = {position: row for row, position in enumerate(places)}
        self._images = np.empty((len(places), size, size, 3), dtype=np.uint8)
        positions = list(places)
        for start in range(0, len(positions), _AT_ONCE):
            part = positions[start : start + _AT_ONCE]
            order = torch.from_numpy(np.stack([places[position] for position in part]).astype(np.int64))
            whole = evaluation_images(store, part, framing)
            left = resize_images(remove(whole, removed(order, share), torch.from_numpy(colour)), size)
            self._images[start : start + len(part)] = left.permute(0, 2, 3, 1).numpy()

    def part(self, name: str) -> list[int]:
        """Positions of the images in a part of the split, in the split's order."""
        return [position for position in self._store.part(name) if position in self._row]

    def labels(self, positions: Sequence[int]) -> np.ndarray:
        """Labels of the images, the same as in the original data set."""
        return self._store.labels(positions)

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [size, size, 3]."""
        return self._images[self._row[position]]


def of_other_images(places: Mapping[int, np.ndarray], parts: Iterable[Sequence[int]]) -> dict[int, np.ndarray]:
    """Every image with the pixel order of another image, which is half of its part away.

    This is a control. It measures the loss that smooth regions of the same shapes, and their visible edges, cause at
    any place of the image.

    Args:
        places: ranks by position, see `ranks`.
        parts: positions of the training images, and of the evaluation images.
    """
    swapped = {}
    for part in parts:
        others = [*part[len(part) // 2 :], *part[: len(part) // 2]]
        swapped |= {position: places[other] for position, other in zip(part, others, strict=True)}
    return swapped


def map_of_image(maps: np.ndarray) -> np.ndarray:
    """One map for an image with several classes: the maximum over the classes' maps, each scaled to a maximum of 1.

    So pixels of every class are removed, even if a class has weaker maps. ROAR's authors had one class per image. The
    supplement does not describe this case.

    Args:
        maps: non-negative maps of the image's classes, [n, h, w].

    Returns:
        [h, w]; a map of zeros adds nothing.
    """
    largest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0).max(axis=0)


@torch.no_grad()
def removal_curve(
    predict: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
    places: torch.Tensor,
    shares: Sequence[float],
    colour: torch.Tensor,
    least: bool = False,
) -> torch.Tensor:
    """Logit of each pair's class at each share of removed pixels.

    With `least` this is FullGrad's perturbation (Srinivas and Fleuret 2019), whose curve is flat for a faithful map.
    Without it this is RISE's deletion (Petsiuk et al. 2018). Insertion is the `least` curve read backwards: at share
    1 - k only the k most important pixels are left.

    Args:
        predict: function from images [B, 3, S, S] to logits [B, C].
        images: images of the pairs, [B, 3, S, S].
        labels: classes of the pairs, int64 [B].
        places: see `ranks`, [B, S, S].
        shares: shares of removed pixels, in any order.
        colour: colour of removed pixels, [3].

    Returns:
        [B, len(shares)].
    """
    columns = []
    for share in shares:
        logits = predict(remove(images, removed(places, share, least), colour)).detach()
        columns.append(logits.gather(1, labels[:, None])[:, 0])
    return torch.stack(columns, dim=1)


def removal_scores(
    predict: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
    maps: np.ndarray,
    percents: Sequence[int],
    colour: torch.Tensor,
    seed: int,
) -> dict[str, np.ndarray]:
    """Predictions of a network for images that lose pixels in the order of the pairs' maps.

    Args:
        predict, images, labels, colour: see `removal_curve`.
        maps: maps of the pairs, [B, h, w].
        percents: shares of removed pixels in percent, ascending, between 0 and 100.
        seed: seed of the order of pixels with equal values.

    Returns:
        By metric, each [B] and in percent. `least_score` at K: probability of the class after removal of the K% least
        important pixels (0: of the whole image). `least_kept` at K: whether the class is still predicted (100 or 0).
        `most_...`: the same after removal of the most important pixels. `insertion_area`, `deletion_area`: mean
        probability over all shares (trapezoidal rule) while pixels are inserted, or deleted, from the most important
        one on. A good map has a large insertion area and a small deletion area. Both grow with the network's
        confidence; see `contrasts`.
    """
    size = images.shape[-1]
    places = torch.from_numpy(np.stack([ranks(values, [seed, n]) for n, values in enumerate(upsample(maps, size))]))
    steps = [0, *percents, 100]
    whole, nothing = removal_curve(predict, images, labels, places, [0, 1], colour).numpy().T[:, :, None]
    scores = {}
    for least, word, area in ((True, "least", "insertion_area"), (False, "most", "deletion_area")):
        between = removal_curve(predict, images, labels, places, [k / 100 for k in percents], colour, least).numpy()
        logits = np.concatenate([whole, between, nothing], axis=1)
        probability = 100.0 * expit(logits.astype(np.float64))
        for column, percent in enumerate(steps[:-1]):
            scores[at(f"{word}_score", percent)] = probability[:, column]
            scores[at(f"{word}_kept", percent)] = 100.0 * (logits[:, column] > 0)
        scores[area] = np.trapezoid(probability, steps, axis=1) / 100
    return scores


def contrasts(own: Mapping[str, np.ndarray], others: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Whether one order is better than other orders for the same network and pairs, at equal confidence.

    Args:
        own: areas of that order, as `removal_scores` returns them.
        others: areas of the other orders, by name.

    Returns:
        `insertion_over` and `deletion_under` at NAME, each [B], in points of probability; positive if `own` is better.
    """
    differences = {}
    for name, other in others.items():
        differences[at("insertion_over", name)] = own["insertion_area"] - other["insertion_area"]
        differences[at("deletion_under", name)] = other["deletion_area"] - own["deletion_area"]
    return differences
