"""Every image decoded once, in its original size, in one memory-mapped file: few files to hash, nothing to decode.

A store is a folder of three files: `images.bin` (uint8 RGB, H x W x 3 per image, one behind the other), `masks.bin`
(uint8, H x W per image that has one) and `index.json`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from attribution_preservation.data.voc import VOCDirectory
from attribution_preservation.errors import UserError


@dataclass(frozen=True)
class Record:
    """One image of a store.

    Attributes:
        name: image name in the VOC layout.
        part: `train` or `val`.
        height, width: original size in pixels.
        image_offset, mask_offset: first byte in images.bin and masks.bin; None where there is no mask.
        labels: indices of the classes in the image.
    """

    name: str
    part: str
    height: int
    width: int
    image_offset: int
    mask_offset: int | None
    labels: list[int]


def pack(source: VOCDirectory, out: Path, on_image: Callable[[], None] = lambda: None) -> int:
    """Decode a VOC directory into a store.

    Main/train is for training, Main/val for predictions, and Segmentation/val, which lies within Main/val, has masks.

    Args:
        source: what to read.
        out: an existing, empty folder.
        on_image: called after each image.

    Returns:
        The number of images.

    Raises:
        UserError: a file is missing or unreadable, or a mask is of another size than its image.
    """
    parts = dict.fromkeys(source.split("Main", "train"), "train")
    parts |= dict.fromkeys(source.split("Main", "val"), "val")
    masked = set(source.split("Segmentation", "val"))
    # An image that only the segmentation split names is evaluated like the others.
    parts |= dict.fromkeys(sorted(masked - parts.keys()), "val")
    records, image_offset, mask_offset = [], 0, 0
    with (out / "images.bin").open("wb") as images, (out / "masks.bin").open("wb") as masks:
        for name, part in parts.items():
            image = source.image(name)
            height, width = image.shape[:2]
            has_mask = name in masked
            labels = source.labels(name)
            records.append(Record(name, part, height, width, image_offset, mask_offset if has_mask else None, labels))
            images.write(image.tobytes())
            image_offset += image.size
            if has_mask:
                mask = source.mask(name)
                if mask.shape != (height, width):
                    raise UserError(
                        f"{source.root / 'SegmentationClass' / name}.png is {mask.shape[1]} x {mask.shape[0]} pixels, "
                        f"its image is {width} x {height}; they must be of one size"
                    )
                masks.write(mask.tobytes())
                mask_offset += mask.size
            on_image()
    index = {"classes": source.classes, "records": [asdict(record) for record in records]}
    (out / "index.json").write_text(json.dumps(index) + "\n")
    return len(records)


class Images(Protocol):
    """A data set as networks see it: `Store`, or one whose images were changed."""

    def part(self, name: str) -> list[int]:
        """Positions of the images of a part, `train` or `val`, in the split's order."""
        ...

    def labels(self, positions: list[int]) -> np.ndarray:
        """Multi-label vectors, float32 [N, C] of 0 and 1."""
        ...

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [H, W, 3]."""
        ...


class Store:
    """Random access to a packed data set, without decoding."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            index = json.loads((folder / "index.json").read_text())
            self.classes: tuple[str, ...] = tuple(index["classes"])
            self.records = [Record(**record) for record in index["records"]]
            sizes = _sizes(self.records, len(self.classes))
        except FileNotFoundError:
            raise UserError(f"{folder / 'index.json'} is missing; run the stage dataset first") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{folder / 'index.json'} is damaged; run the stage dataset again") from None
        for name, size in sizes.items():
            path = folder / name
            if not path.exists():
                raise UserError(f"{path} is missing; run the stage dataset first")
            if (found := path.stat().st_size) != size:
                raise UserError(f"{path} has {found} bytes, its index {size}; run the stage dataset again")

    def __getstate__(self) -> dict:
        # A worker process maps the files itself instead of receiving a copy of them.
        return {key: value for key, value in self.__dict__.items() if key not in ("_images", "_masks")}

    def part(self, name: str) -> list[int]:
        """Positions of the images of a part, in the split's order."""
        return [i for i, record in enumerate(self.records) if record.part == name]

    def labels(self, positions: list[int]) -> np.ndarray:
        """Multi-label vectors, float32 [N, C] of 0 and 1."""
        labels = np.zeros((len(positions), len(self.classes)), dtype=np.float32)
        for row, position in enumerate(positions):
            labels[row, self.records[position].labels] = 1
        return labels

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [H, W, 3] in the original size; a view of the file."""
        record = self.records[position]
        size = record.height * record.width * 3
        flat = self._images[record.image_offset : record.image_offset + size]
        return flat.reshape(record.height, record.width, 3)

    def mask(self, position: int) -> np.ndarray | None:
        """uint8 [H, W] in the original size, 255 is void; None where the image has no mask."""
        record = self.records[position]
        if record.mask_offset is None:
            return None
        size = record.height * record.width
        return self._masks[record.mask_offset : record.mask_offset + size].reshape(record.height, record.width)

    @cached_property
    def _images(self) -> np.ndarray:
        return np.memmap(self._folder / "images.bin", dtype=np.uint8, mode="r")

    @cached_property
    def _masks(self) -> np.ndarray:
        return np.memmap(self._folder / "masks.bin", dtype=np.uint8, mode="r")


def _sizes(records: list[Record], classes: int) -> dict[str, int]:
    """Bytes of the files that records speak of, one behind the other as `pack` writes them.

    Raises:
        ValueError, TypeError: no store has such records.
    """
    images = masks = 0
    for record in records:
        area = record.height * record.width
        of_mask = record.mask_offset is not None
        placed = record.image_offset == images and (record.mask_offset == masks or not of_mask)
        if area <= 0 or not placed or not all(0 <= label < classes for label in record.labels):
            raise ValueError(f"{record} is out of place")
        images, masks = images + 3 * area, masks + area * of_mask
    return {"images.bin": images, "masks.bin": masks}
