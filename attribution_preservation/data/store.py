"""Packed data set: decoded images in their original size, in one memory-mapped file. It has few files to hash.

A store is a folder of three files. `images.bin` has the images one after the other (uint8 RGB, H x W x 3). `masks.bin`
has the existing masks (uint8, H x W). `index.json` describes both. Data sets with too many images stay in their
original files. A fourth file, `manifest.csv`, then lists them, and their positions come before those of the packed
images. `data.store_writer` writes these files.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from attribution_preservation.data.manifest import Manifest
from attribution_preservation.errors import UserError


@dataclass(frozen=True)
class Record:
    """One image of a store.

    Attributes:
        name: image name in its source.
        part: `train` or `val`.
        height, width: original size in pixels.
        image_offset, mask_offset: first byte in images.bin and masks.bin; `mask_offset` is None without a mask.
        labels: indices of the classes in the image; empty if they are unknown.
    """

    name: str
    part: str
    height: int
    width: int
    image_offset: int
    mask_offset: int | None
    labels: list[int]


class Images(Protocol):
    """A data set: `Store`, or a data set with changed images."""

    def part(self, name: str) -> Sequence[int]:
        """Positions of the images of a part, `train` or `val`, in the split's order."""
        ...

    def labels(self, positions: Sequence[int]) -> np.ndarray:
        """Multi-label vectors, float32 [N, C], or class indices, int64 [N], if classes exclude each other."""
        ...

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [H, W, 3]."""
        ...


class Store:
    """Random access to a data set.

    Attributes:
        classes: names of the classes.
        records: the packed images, which need no decoding; their positions come after those of the manifest.
        exclusive: whether an image has one class, so that `labels` returns its index.
        notes: sentences about the data for readers of results, without a full stop.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            index = json.loads((folder / "index.json").read_text())
            self.classes: tuple[str, ...] = tuple(index["classes"])
            self.records = [Record(**record) for record in index["records"]]
            self.exclusive: bool = index.get("exclusive", False)
            self.notes = tuple(f"{note:s}" for note in index.get("notes", ()))
            sizes = _sizes(self.records, len(self.classes))
            outside = _outside(index, self.records)
            if outside is not None:
                sizes["manifest.csv"] = outside["bytes"]
        except FileNotFoundError:
            raise UserError(f"{folder / 'index.json'} is missing; run the stage dataset first") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(f"{folder / 'index.json'} is damaged; run the stage dataset again") from None
        for name, size in sizes.items():
            path = folder / name
            if not path.exists():
                raise UserError(f"{path} is missing; run the stage dataset first")
            if (actual := path.stat().st_size) != size:
                raise UserError(f"{path} has {actual} bytes, its index {size}; run the stage dataset again")
        self._manifest = None
        if outside is not None:
            path = folder / "manifest.csv"
            try:
                self._manifest = Manifest.read(path, outside["root"], outside["archive"], tuple(outside["folders"]))
            except ValueError:
                raise UserError(f"{path} is damaged; run the stage dataset again") from None
        self._first_record = 0 if self._manifest is None else len(self._manifest)

    def __getstate__(self) -> dict:
        # A worker process maps the files itself instead of receiving a copy of them.
        return {key: value for key, value in self.__dict__.items() if key not in ("_images", "_masks", "_indices")}

    def part(self, name: str) -> Sequence[int]:
        """Positions of the images of a part, in the split's order."""
        if self._manifest is not None:
            # A range, because there may be a million images.
            train = self._manifest.train
            return range(train) if name == "train" else range(train, self._first_record + len(self.records))
        return [i for i, record in enumerate(self.records) if record.part == name]

    def labels(self, positions: Sequence[int]) -> np.ndarray:
        """Labels of some images.

        Returns:
            Multi-label vectors, float32 [N, C] of 0 and 1. If classes exclude each other, class indices, int64 [N], -1
            if the class is unknown.
        """
        if self.exclusive:
            return self._indices[np.asarray(positions, dtype=np.int64)]
        labels = np.zeros((len(positions), len(self.classes)), dtype=np.float32)
        for row, position in enumerate(positions):
            labels[row, self.records[position].labels] = 1
        return labels

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB [H, W, 3] in the original size; a view of the file if the image is packed."""
        if self._manifest is not None and position < self._first_record:
            return self._manifest.image(position)
        record = self.records[position - self._first_record]
        size = record.height * record.width * 3
        flat = self._images[record.image_offset : record.image_offset + size]
        return flat.reshape(record.height, record.width, 3)

    def mask(self, position: int) -> np.ndarray | None:
        """uint8 [H, W] in the original size, 255 for void; None if the image has no mask."""
        if position < self._first_record:
            return None
        record = self.records[position - self._first_record]
        if record.mask_offset is None:
            return None
        size = record.height * record.width
        return self._masks[record.mask_offset : record.mask_offset + size].reshape(record.height, record.width)

    @cached_property
    def _indices(self) -> np.ndarray:
        of_records = [record.labels[0] if record.labels else -1 for record in self.records]
        before = [] if self._manifest is None else self._manifest.labels
        return np.concatenate([before, of_records]).astype(np.int64)

    @cached_property
    def _images(self) -> np.ndarray:
        return np.memmap(self._folder / "images.bin", dtype=np.uint8, mode="r")

    @cached_property
    def _masks(self) -> np.ndarray:
        return np.memmap(self._folder / "masks.bin", dtype=np.uint8, mode="r")


def _outside(index: dict[str, Any], records: list[Record]) -> dict[str, Any] | None:
    """Entries of an index about images that are not packed; None if all images are packed.

    Raises:
        ValueError, KeyError, TypeError: the entries are not valid.
    """
    if "exclusive" not in index and "manifest" not in index:
        return None
    manifest = index["manifest"]
    texts = [manifest["root"], *manifest["folders"], *([] if manifest["archive"] is None else [manifest["archive"]])]
    plain = index["exclusive"] is True and isinstance(manifest["bytes"], int)
    if not plain or not all(isinstance(text, str) for text in texts):
        raise TypeError("a manifest is told by texts and its size")
    if sorted(set(manifest["folders"])) != manifest["folders"] or len(manifest["folders"]) != len(index["classes"]):
        raise ValueError("folders and classes are not the same in number and order")
    if any(record.part != "val" or len(record.labels) > 1 for record in records):
        raise ValueError("packed images beside a manifest are for evaluation, and of one class at the most")
    return manifest


def _sizes(records: list[Record], classes: int) -> dict[str, int]:
    """Sizes in bytes of the files of the records, if these follow one another as `Packer` writes them.

    Raises:
        ValueError, TypeError: the records are not valid.
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
