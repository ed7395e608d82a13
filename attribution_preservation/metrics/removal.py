"""Are the pixels that a map names those that a network decides by? Pixels removed in a map's order, and what is lost.

A removed pixel takes the mean colour of the data set, which says nothing of the image (Hooker et al. 2019, A benchmark
for interpretability methods in deep neural networks, supplement).
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

_AT_ONCE = 256  # images


def ranks(values: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """The place of every pixel from the most important one, 0, to the least, int64 [S, S].

    Equal values, as wherever a ReLU leaves 0, are put into random order: their order in memory would remove an image
    from its top.

    Args:
        values: a map in the image's size, [S, S].
        seed: of that order; one image needs the same one for every share, so that what is removed only grows.
    """
    shuffled = np.random.default_rng(seed).permutation(values.size)
    places = np.empty(values.size, dtype=np.int64)
    places[shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]] = np.arange(values.size)
    return places.reshape(values.shape)


def removed(places: torch.Tensor, share: float, least: bool = False) -> torch.Tensor:
    """Which pixels go, bool [B, S, S].

    Args:
        places: see `ranks`, [B, S, S].
        share: of all pixels, from 0 to 1; rounded to whole pixels.
        least: the least important ones instead of the most important.

    Raises:
        ValueError: the share is none.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    pixels = places[0].numel()
    count = round(share * pixels)
    return places >= pixels - count if least else places < count


def remove(images: torch.Tensor, pixels: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    """Images in which some pixels have one colour.

    Args:
        images: [B, 3, S, S].
        pixels: which go, bool [B, S, S].
        colour: [3], of the images' type.
    """
    return torch.where(pixels[:, None], colour.to(images)[:, None, None], images)


class RemovedPixels:
    """A data set whose images have lost their most important pixels: what a classifier is retrained on.

    All images are made at once and held in memory, since every epoch shows them again: 3 S^2 bytes each.

    Args:
        store: the data set as it is.
        places: by position the place of every pixel of that image as the network sees it, see `ranks`, [S, S]; the
            data set has these images alone.
        share: of pixels that go, from 0 to 1.
        colour: of removed pixels, uint8 [3].
        framing: how the network sees an image.
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
        """Positions of the images of a part, in the split's order."""
        return [position for position in self._store.part(name) if position in self._row]

    def labels(self, positions: Sequence[int]) -> np.ndarray:
        """Labels as the whole data set gives them."""
        return self._store.labels(positions)

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [size, size, 3]."""
        return self._images[self._row[position]]


def of_other_images(places: Mapping[int, np.ndarray], parts: Iterable[Sequence[int]]) -> dict[int, np.ndarray]:
    """Every image with the order of the one that is half of its part away: regions of the same shapes, elsewhere.

    A control: what is lost in an order of smooth regions, and by what their edges tell, whatever they lie on.

    Args:
        places: by position, see `ranks`.
        parts: positions of training images, and of those for evaluation.
    """
    found = {}
    for part in parts:
        others = [*part[len(part) // 2 :], *part[: len(part) // 2]]
        found |= {position: places[other] for position, other in zip(part, others, strict=True)}
    return found


def map_of_image(maps: np.ndarray) -> np.ndarray:
    """One map for an image with several classes: in every pixel the largest value, each class's map scaled to 1.

    Removed by it, pixels of every class go, and none is left because its class has weaker maps. ROAR's authors had one
    class per image; the supplement does not say what it did.

    Args:
        maps: of its classes, not negative, [n, h, w].

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
    """Logit of each pair's class while more and more pixels go.

    With `least` this is FullGrad's perturbation (Srinivas and Fleuret 2019), which a faithful map makes flat; with the
    most important first it is RISE's deletion (Petsiuk et al. 2018). Insertion is the removal of the least important
    read backwards: at share 1 - k only the k most important ones are there.

    Args:
        predict: from images [B, 3, S, S] to logits [B, C].
        images: of the pairs, [B, 3, S, S].
        labels: their classes, int64 [B].
        places: see `ranks`, [B, S, S].
        shares: of pixels, in any order.
        colour: of removed pixels, [3].

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
    """What a network makes of images that lose pixels in the order of some maps, pair by pair.

    Args:
        predict, images, labels, colour: as `removal_curve` takes them.
        maps: of the pairs, [B, h, w].
        percents: of the pixels, ascending, between 0 and 100.
        seed: of the order of pixels with equal values.

    Returns:
        By metric, each [B] and in percent. `least_score` at K: probability of the class with the K % least important
        pixels gone (0: of the whole image); `least_kept` at K: whether it is still predicted (100 or 0);
        `most_...`: with the most important gone. `insertion_area`, `deletion_area`: mean probability while pixels
        appear, or go, from the most important on, over all shares (trapezoidal rule): a good map has a large first and
        a small second one. Both grow with the network's confidence; see `contrasts`.
    """
    size = images.shape[-1]
    places = torch.from_numpy(np.stack([ranks(values, [seed, n]) for n, values in enumerate(upsample(maps, size))]))
    steps = [0, *percents, 100]
    whole, nothing = removal_curve(predict, images, labels, places, [0, 1], colour).numpy().T[:, :, None]
    found = {}
    for least, word, area in ((True, "least", "insertion_area"), (False, "most", "deletion_area")):
        between = removal_curve(predict, images, labels, places, [k / 100 for k in percents], colour, least).numpy()
        logits = np.concatenate([whole, between, nothing], axis=1)
        probability = 100.0 * expit(logits.astype(np.float64))
        for column, percent in enumerate(steps[:-1]):
            found[at(f"{word}_score", percent)] = probability[:, column]
            found[at(f"{word}_kept", percent)] = 100.0 * (logits[:, column] > 0)
        found[area] = np.trapezoid(probability, steps, axis=1) / 100
    return found


def contrasts(own: Mapping[str, np.ndarray], others: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Is one order better than others for the same network and pairs, whatever the network's confidence?

    Args:
        own: areas of that order, as `removal_scores` gives them.
        others: those of the others, by name.

    Returns:
        `insertion_over` and `deletion_under` at NAME, each [B], in points of probability; positive where `own` is
        better.
    """
    found = {}
    for name, other in others.items():
        found[at("insertion_over", name)] = own["insertion_area"] - other["insertion_area"]
        found[at("deletion_under", name)] = other["deletion_area"] - own["deletion_area"]
    return found
