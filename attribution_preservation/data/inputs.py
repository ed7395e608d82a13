"""Inputs of networks: framed images for evaluation, the scored (image, class) pairs, normalisation."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.store import Images, Store
from attribution_preservation.data.voc import VOID
from attribution_preservation.errors import UserError

# Limits in pixels above which an image is not resized as a whole: of the given and of the resized image. A photograph
# of 16 megapixels is below the first limit (200 MB as float32). An image that is 64 times as long as high, resized to
# 256, is below the second limit (50 MB).
_MOST_GIVEN, _MOST_RESIZED = 2**24, 2**22


@dataclass(frozen=True)
class Pairs:
    """The scored units: one (image, class) pair for every class present in an image's mask.

    If classes exclude each other, a network's top class is explained (supplement B), and every masked image has two
    pairs. The pairs in the first half have the top class of the network's teacher; the pairs in the second half have
    the network's own top class.

    Attributes:
        image: row of each pair's image among the evaluation images, int64 [P].
        label: class of each pair, int64 [P]; None if it depends on the network.
        masks: masks of those images at the network's input size, uint8 [N, S, S]; see `mask_row`.
        mask_row: row of each pair's mask, int64 [P].
    """

    image: np.ndarray
    label: np.ndarray | None
    masks: np.ndarray
    mask_row: np.ndarray

    def __len__(self) -> int:
        return len(self.image)

    def classes(self, teacher: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The explained class of each pair for one network, int64 [P].

        Args:
            teacher, own: the teacher's and the network's own logits of the evaluation images, [N, C]. For a teacher
                both are its own.
        """
        if self.label is not None:
            return self.label
        half = self.image[: len(self) // 2]
        return np.concatenate([logits[half].argmax(axis=1) for logits in (teacher, own)])


def evaluation_images(store: Images, positions: Sequence[int], framing: Framing, workers: int = 0) -> torch.Tensor:
    """Framed images without augmentation, uint8 [N, 3, S, S].

    Args:
        store, positions, framing: the data set, the images' positions in it, and their framing.
        workers: number of additional threads that decode images. The result does not depend on it.
    """
    images = torch.empty(len(positions), 3, framing.size, framing.size, dtype=torch.uint8)

    def put(row: int) -> None:
        images[row] = frame_image(store.image(positions[row]), framing)

    if not workers:
        for row in range(len(positions)):
            put(row)
        return images
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(put, range(len(positions))):
            pass
    return images


def frame_image(image: np.ndarray, framing: Framing) -> torch.Tensor:
    """A framed image, resized bilinearly with antialiasing; uint8 [H, W, 3] to uint8 [3, S, S].

    With `resize` this equals torchvision's Resize and CenterCrop, which the published ImageNet networks use in
    evaluation. For very large or very long images only the square is resized, which limits memory and time. Its values
    differ by at most 1 from those of the whole resized image.
    """
    height, width = image.shape[:2]
    sides = _sides(height, width, framing)
    # torch resizes along rows first, so its intermediate image has the given height and the resized width.
    if height * width > _MOST_GIVEN or max(height, sides[0]) * sides[1] > _MOST_RESIZED:
        return _cut_square(image, sides, framing.size)
    resized = _resized(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], sides)[0]
    return resized[:, *_centre(sides, framing.size)]


def resize_images(images: torch.Tensor, size: int) -> torch.Tensor:
    """Whole images of one size squeezed to size x size, as `frame_image` does; uint8 [B, 3, H, W] to [B, 3, S, S]."""
    return _resized(images, (size, size))


def frame_mask(mask: np.ndarray, framing: Framing) -> np.ndarray:
    """A mask framed as its image is, by nearest neighbour (pixel centres), void kept; uint8 [H, W] to [S, S]."""
    sides = _sides(mask.shape[0], mask.shape[1], framing)
    square = _centre(sides, framing.size)
    if sides[0] * sides[1] > _MOST_RESIZED:
        rows, columns = (
            # (place + 1/2) / side * length, rounded down, in integers.
            (2 * np.arange(places.start, places.stop) + 1) * length // (2 * side)
            for length, side, places in zip(mask.shape, sides, square, strict=True)
        )
        return mask[np.ix_(rows, columns)]
    resized = F.interpolate(torch.from_numpy(np.array(mask))[None, None], size=sides, mode="nearest-exact")
    return resized[0, 0][square].numpy()


def _sides(height: int, width: int, framing: Framing) -> tuple[int, int]:
    """Height and width of a resized image, before the square is cut from it."""
    if framing.resize is None:
        return framing.size, framing.size
    # The longer side is rounded down, as in torchvision. Rounding to the nearest would shift the crop.
    longer = int(framing.resize * max(height, width) / min(height, width))
    return (longer, framing.resize) if height > width else (framing.resize, longer)


def _centre(sides: tuple[int, int], size: int) -> tuple[slice, slice]:
    """Position of the square. Half pixels are rounded to the even number, as in torchvision."""
    top, left = (round((side - size) / 2) for side in sides)
    return slice(top, top + size), slice(left, left + size)


def _resized(images: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    if images.shape[2:] == sides:
        return images
    resized = F.interpolate(images.float(), size=sides, mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _cut_square(image: np.ndarray, sides: tuple[int, int], size: int) -> torch.Tensor:
    """The resized square in the centre of an image; only this square is resized. uint8 [H, W, 3] to [3, S, S]."""
    if image.shape[0] > image.shape[1]:
        # Pillow resizes along rows first and keeps all rows, so the longer side must be along the rows.
        return _cut_square(image.transpose(1, 0, 2), sides[::-1], size).transpose(1, 2)
    scales = [length / side for length, side in zip(image.shape[:2], sides, strict=True)]
    (top, bottom), (left, right) = (
        (scale * place.start, min(scale * place.stop, length))
        for scale, place, length in zip(scales, _centre(sides, size), image.shape[:2], strict=True)
    )
    picture = Image.fromarray(np.ascontiguousarray(image))
    square = picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def scored_pairs(store: Store, positions: Sequence[int], framing: Framing) -> Pairs:
    """Every (image, class) pair whose class is in the image's mask as the network sees it.

    Parts of the image outside the square are not scored. If classes exclude each other, a mask separates only object
    from background, and every image that shows an object has two pairs (see `Pairs`).

    Raises:
        UserError: no image has a mask.
    """
    image, label, masks, mask_row = [], [], [], []
    for row, position in enumerate(positions):
        original = store.mask(position)
        if original is None:
            continue
        mask = frame_mask(original, framing)
        present = np.setdiff1d(mask, [0, VOID])
        image += [row] * len(present)
        label += [int(value) - 1 for value in present]
        mask_row += [len(masks)] * len(present)
        masks.append(mask)
    if not label:
        raise UserError("no evaluation image has a mask with a class in it; localisation cannot be scored")
    rows, labels, of_masks = (np.array(indices, dtype=np.int64) for indices in (image, label, mask_row))
    if store.exclusive:
        return Pairs(np.tile(rows, 2), None, np.stack(masks), np.tile(of_masks, 2))
    return Pairs(rows, labels, np.stack(masks), of_masks)


class Normalize:
    """uint8 images [B, 3, H, W] to float32, channel by channel (x / 255 - mean) / std, on the images' device."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self._mean = torch.tensor(mean).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std).view(3, 1, 1) * 255)
        self._on: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}  # copied once per device

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images, in channels-last memory order, which convolutions on a CPU prefer."""
        device = images.device
        if device not in self._on:
            # Outside the caller's inference mode, because later callers may differentiate.
            with torch.inference_mode(False):
                self._on[device] = self._mean.to(device), self._scale.to(device)
        mean, scale = self._on[device]
        normalized = images.float().sub_(mean).mul_(scale)
        return normalized.contiguous(memory_format=torch.channels_last)
