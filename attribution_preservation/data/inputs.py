"""What a network is shown: whole images for evaluation, the (image, class) pairs that are scored, normalisation."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from attribution_preservation.data.store import Images, Store
from attribution_preservation.data.voc import VOID
from attribution_preservation.errors import UserError


@dataclass(frozen=True)
class Pairs:
    """The scored units: one (image, class) pair for every class present in an image's mask.

    Attributes:
        image: for each pair the row of its image among the evaluation images, int64 [P].
        label: its class, int64 [P].
        masks: masks of those images at the network's input size, uint8 [N, S, S]; see `mask_row`.
        mask_row: for each pair the row of its mask, int64 [P].
    """

    image: np.ndarray
    label: np.ndarray
    masks: np.ndarray
    mask_row: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def evaluation_images(store: Images, positions: list[int], size: int) -> torch.Tensor:
    """Images resized to size x size without a crop, uint8 [N, 3, S, S]."""
    images = torch.empty(len(positions), 3, size, size, dtype=torch.uint8)
    for row, position in enumerate(positions):
        images[row] = resize_image(store.image(position), size)
    return images


def resize_image(image: np.ndarray, size: int) -> torch.Tensor:
    """The whole image at size x size, bilinear with antialiasing; uint8 [H, W, 3] to uint8 [3, S, S]."""
    return resize_images(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], size)[0]


def resize_images(images: torch.Tensor, size: int) -> torch.Tensor:
    """As `resize_image`, of images of one size; uint8 [B, 3, H, W] to uint8 [B, 3, S, S]."""
    if images.shape[2:] == (size, size):
        return images
    resized = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Mask at the network's input size by nearest neighbour (pixel centres), void kept; uint8 [S, S]."""
    resized = F.interpolate(torch.from_numpy(np.array(mask))[None, None], size=(size, size), mode="nearest-exact")
    return resized[0, 0].numpy()


def scored_pairs(store: Store, positions: list[int], size: int) -> Pairs:
    """Every (image, class) pair whose class is in the image's mask at the network's input size.

    Raises:
        UserError: no image has a mask.
    """
    image, label, masks, mask_row = [], [], [], []
    for row, position in enumerate(positions):
        original = store.mask(position)
        if original is None:
            continue
        mask = resize_mask(original, size)
        present = np.setdiff1d(mask, [0, VOID])
        image += [row] * len(present)
        label += [int(value) - 1 for value in present]
        mask_row += [len(masks)] * len(present)
        masks.append(mask)
    if not label:
        raise UserError("no evaluation image has a mask with a class in it; localisation cannot be scored")
    return Pairs(np.array(image, dtype=np.int64), np.array(label, dtype=np.int64), np.stack(masks), np.array(mask_row))


class Normalize:
    """uint8 images [B, 3, H, W] to float32, channel by channel (x / 255 - mean) / std, on the images' device."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self._mean = torch.tensor(mean).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std).view(3, 1, 1) * 255)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images, in channels-last memory order, which convolutions on a CPU prefer."""
        normalized = images.float().sub_(self._mean.to(images.device)).mul_(self._scale.to(images.device))
        return normalized.contiguous(memory_format=torch.channels_last)
