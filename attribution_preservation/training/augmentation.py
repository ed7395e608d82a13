"""Random crops and flips, image by image, finished on the device: a whole batch in two matrix products.

torchvision's transforms give a whole batch one crop. Here torchvision draws each image's crop from the image's own
seed, and the device resizes every crop by weights of its own; nothing but the crop's bytes travels to the device.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attribution_preservation.optimization import Augmentation


@dataclass(frozen=True)
class Crop:
    """A part of one image, and how it is shown.

    Attributes:
        image: uint8 RGB [h, w, 3].
        flipped: whether left and right change places.
    """

    image: np.ndarray
    flipped: bool


@dataclass(frozen=True)
class Crops:
    """Crops of several sizes in one tensor.

    Attributes:
        images: each in the upper left corner, uint8 [B, H, W, 3].
        sizes: height and width of each, int64 [B, 2].
        flipped: bool [B].
    """

    images: torch.Tensor
    sizes: torch.Tensor
    flipped: torch.Tensor

    @classmethod
    def of(cls, crops: list[Crop]) -> "Crops":
        """One behind the other."""
        sizes = torch.tensor([crop.image.shape[:2] for crop in crops])
        images = torch.zeros(len(crops), *sizes.amax(0).tolist(), 3, dtype=torch.uint8)
        for row, crop in zip(images, crops, strict=True):
            height, width = crop.image.shape[:2]
            row.numpy()[:height, :width] = crop.image
        return cls(images, sizes, torch.tensor([crop.flipped for crop in crops]))

    def pin_memory(self) -> "Crops":
        """In memory from which a GPU copies by itself; called by torch's DataLoader."""
        return Crops(self.images.pin_memory(), self.sizes.pin_memory(), self.flipped.pin_memory())

    def to(self, device: torch.device) -> "Crops":
        """On a device, without waiting for the copy."""
        return Crops(*(part.to(device, non_blocking=True) for part in (self.images, self.sizes, self.flipped)))

    def resized(self, size: int) -> torch.Tensor:
        """All crops at size x size, bilinear with antialiasing; uint8 [B, 3, S, S]."""
        batch, height, width, _ = self.images.shape
        rows = resize_weights(self.sizes[:, 0], height, size)
        columns = resize_weights(self.sizes[:, 1], width, size)
        columns = torch.where(self.flipped[:, None, None], columns.flip(1), columns)
        # [B, S, H] [B, H, W * 3], then [B, S, W] [B, W, S * 3]
        lines = rows @ self.images.reshape(batch, height, width * 3).float()
        lines = lines.view(batch, size, width, 3).transpose(1, 2).reshape(batch, width, size * 3)
        resized = (columns @ lines).view(batch, size, size, 3)  # columns first
        return resized.permute(0, 3, 2, 1).round().clamp_(0, 255).to(torch.uint8)


def resize_weights(lengths: torch.Tensor, longest: int, size: int) -> torch.Tensor:
    """How much each old place counts for each new one when a line is resized: bilinear with antialiasing.

    The triangle filter of `torch.nn.functional.interpolate(mode="bilinear", antialias=True)`: as wide as a new pixel
    where the line shrinks, as an old one where it grows.

    Args:
        lengths: of the lines, int64 [B].
        longest: length of the lines with what pads them.
        size: new length S.

    Returns:
        float32 [B, S, longest], which sums to 1 over the old places; padding counts nothing.
    """
    scale = (lengths / size)[:, None, None]
    centre = (torch.arange(size, device=lengths.device)[None, :, None] + 0.5) * scale
    place = torch.arange(longest, device=lengths.device) + 0.5
    weights = (1 - (place - centre).abs() / scale.clamp(min=1)).clamp_(min=0)
    weights = weights * (place < lengths[:, None, None])
    return weights / weights.sum(2, keepdim=True)


class Augmenter:
    """Draws crops and flips.

    Args:
        augmentation: what is drawn.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._flip, self._crop = augmentation.flip, None
        if augmentation.crop_scale:
            # Imported here because it takes 1.7 s, in every stage that trains, also where nothing is changed.
            from torchvision.transforms import v2

            self._crop = v2.RandomResizedCrop(1, scale=tuple(augmentation.crop_scale))

    def __call__(self, image: np.ndarray, seed: int) -> Crop:
        """A crop of an image, uint8 [H, W, 3]."""
        # torchvision draws from torch's global CPU generator, which stays as it was for everyone else.
        # (torch.manual_seed would also seed the GPU's, from which dropout draws.)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            if self._crop is not None:
                whole = torch.empty(3, *image.shape[:2], device="meta")  # only its size is asked for
                box: dict[str, Any] = self._crop.make_params([whole])
                top, left = box["top"], box["left"]
                image = image[top : top + box["height"], left : left + box["width"]]
            return Crop(image, bool(torch.rand(1) < self._flip))
