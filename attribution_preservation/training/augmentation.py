"""Random crops and flips of each image. The device resizes the crops of a whole batch by two matrix products.

torchvision's transforms use one crop for a whole batch. Here torchvision draws each image's crop from the image's own
seed. The device resizes every crop with separate weights, so only the bytes of the crop are copied to the device.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attribution_preservation.optimization import Augmentation


@dataclass(frozen=True)
class Crop:
    """A part of one image, possibly flipped.

    Attributes:
        image: uint8 RGB [h, w, 3].
        flipped: whether left and right are exchanged.
    """

    image: np.ndarray
    flipped: bool


@dataclass(frozen=True)
class Crops:
    """Crops of several sizes in one tensor.

    Attributes:
        images: each crop in the upper left corner of its row, uint8 [B, H, W, 3].
        sizes: height and width of each, int64 [B, 2].
        flipped: bool [B].
    """

    images: torch.Tensor
    sizes: torch.Tensor
    flipped: torch.Tensor

    @classmethod
    def of(cls, crops: list[Crop]) -> "Crops":
        """Collect crops in one tensor, padded with 0 to the largest height and width."""
        sizes = torch.tensor([crop.image.shape[:2] for crop in crops])
        images = torch.zeros(len(crops), *sizes.amax(0).tolist(), 3, dtype=torch.uint8)
        for row, crop in zip(images, crops, strict=True):
            height, width = crop.image.shape[:2]
            row.numpy()[:height, :width] = crop.image
        return cls(images, sizes, torch.tensor([crop.flipped for crop in crops]))

    def pin_memory(self) -> "Crops":
        """Copy to pinned memory, from which a GPU copies asynchronously; torch's DataLoader calls this."""
        return Crops(self.images.pin_memory(), self.sizes.pin_memory(), self.flipped.pin_memory())

    def to(self, device: torch.device) -> "Crops":
        """Copy to a device, without waiting for the copy."""
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
    """Weight of each old pixel in each new pixel of a resized line: bilinear with antialiasing.

    The triangle filter equals `torch.nn.functional.interpolate(mode="bilinear", antialias=True)`. It is as wide as a
    new pixel if the line shrinks, and as wide as an old pixel if the line grows.

    Args:
        lengths: lengths of the lines, int64 [B].
        longest: length of the padded lines.
        size: new length S.

    Returns:
        float32 [B, S, longest]. The weights sum to 1 over the old pixels; padding has weight 0.
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
        augmentation: settings of the random crops and flips.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._flip, self._crop = augmentation.flip, None
        if augmentation.crop_scale:
            # Imported here because it takes 1.7 s, and stages that do not crop need not wait for it.
            from torchvision.transforms import v2

            self._crop = v2.RandomResizedCrop(1, scale=tuple(augmentation.crop_scale))

    def __call__(self, image: np.ndarray, seed: int) -> Crop:
        """A random crop of an image, uint8 [H, W, 3], drawn from the seed."""
        # torchvision draws from torch's global CPU generator, whose state is restored for all other code.
        # (torch.manual_seed would also seed the GPU's generator, from which dropout draws.)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            if self._crop is not None:
                whole = torch.empty(3, *image.shape[:2], device="meta")  # only its size is used
                box: dict[str, Any] = self._crop.make_params([whole])
                top, left = box["top"], box["left"]
                image = image[top : top + box["height"], left : left + box["width"]]
            return Crop(image, bool(torch.rand(1) < self._flip))
