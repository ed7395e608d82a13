"""Writing a store: the files that `data.store.Store` reads, from a VOC directory or next to a manifest."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from attribution_preservation.data.agreement import Agreement
from attribution_preservation.data.manifest import Manifest
from attribution_preservation.data.splits import count, first_few, read_splits
from attribution_preservation.data.store import Record
from attribution_preservation.data.voc import VOCDirectory
from attribution_preservation.errors import UserError


class Packer:
    """Writes the files of a store, image by image. Use it as a context manager.

    Args:
        out: an existing, empty folder.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._open = out, ExitStack()
        self._image_offset = self._mask_offset = 0
        self.records: list[Record] = []

    def __enter__(self) -> "Packer":
        self._images, self._masks = (
            self._open.enter_context((self._out / name).open("wb")) for name in ("images.bin", "masks.bin")
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def add(self, name: str, part: str, image: np.ndarray, labels: list[int], mask: np.ndarray | None) -> None:
        """Append an image, uint8 [H, W, 3], and its mask, uint8 [H, W], or None."""
        height, width = image.shape[:2]
        mask_offset = None if mask is None else self._mask_offset
        self.records.append(Record(name, part, height, width, self._image_offset, mask_offset, labels))
        self._images.write(image.tobytes())
        self._image_offset += image.size
        if mask is not None:
            self._masks.write(mask.tobytes())
            self._mask_offset += mask.size

    def index(self, classes: Sequence[str], **more: Any) -> None:
        """Write the index after the last image; `more` has entries that only some stores have."""
        index = {"classes": classes, "records": [asdict(record) for record in self.records], **more}
        (self._out / "index.json").write_text(json.dumps(index) + "\n")


def pack(
    source: VOCDirectory,
    out: Path,
    on_image: Callable[[], None] = lambda: None,
    on_note: Callable[[str], object] = lambda note: None,
) -> int:
    """Decode a VOC directory into a store.

    Main/train is used for training, Main/val and Segmentation/val for evaluation. Images of
    Segmentation/val have masks.

    Args:
        source: the VOC directory.
        out: an existing, empty folder.
        on_image: called after each image.
        on_note: called with each sentence about the data set that a user should read, without a full stop.

    Returns:
        The number of images.

    Raises:
        UserError: the lists are inconsistent, a file is missing or unreadable, a mask and its image differ in size, no
            mask has a class, or all masks contradict the annotations.
    """
    splits = read_splits(source.root)
    if splits.unlisted:
        on_note(f"Evaluation includes {count(splits.unlisted, 'image')} that only Segmentation/val lists")
    parts = dict.fromkeys(splits.train, "train") | dict.fromkeys(splits.val, "val")
    folder = source.root / "SegmentationClass"
    agreement = Agreement(folder)
    with Packer(out) as packer:
        for name, part in parts.items():
            image, labels, mask = source.image(name), source.labels(name), None
            if name in splits.masked:
                mask, agrees = source.compared_mask(name, labels)
                if mask.shape != image.shape[:2]:
                    raise UserError(
                        f"{folder / name}.png is {mask.shape[1]} x {mask.shape[0]} pixels, "
                        f"its image is {image.shape[1]} x {image.shape[0]}; they must be of one size"
                    )
                agreement.add(name, mask, agrees)
            packer.add(name, part, image, labels, mask)
            on_image()
    notes = agreement.notes()
    for note in notes:
        on_note(f"{note} ({first_few(agreement.doubtful)})")
    packer.index(source.classes, **({"notes": notes} if notes else {}))
    return len(packer.records)


def pack_beside(
    manifest: Manifest,
    masked: Iterable[tuple[str, np.ndarray, np.ndarray]],
    classes: Sequence[str],
    out: Path,
    source: Mapping[str, Any],
    on_image: Callable[[], None] = lambda: None,
) -> int:
    """Write a store of images that stay in their files, and of some packed images with masks, only for evaluation.

    Args:
        manifest: the images that stay in their files; their classes exclude each other.
        masked: name, image [H, W, 3] and mask [H, W] of the packed images, uint8. Their classes are unknown; the mask
            is 1 for the object.
        classes: names of the classes, in the order of the manifest's folders.
        out: an existing, empty folder.
        source: further entries of the index about the origin of the images.
        on_image: called after each packed image.

    Returns:
        The number of packed images.
    """
    path = out / "manifest.csv"
    manifest.write(path)
    with Packer(out) as packer:
        for name, image, mask in masked:
            packer.add(name, "val", image, [], mask)
            on_image()
    packer.index(
        classes,
        exclusive=True,
        manifest={
            "bytes": path.stat().st_size,
            "root": manifest.root,
            "archive": manifest.archive,
            "folders": manifest.folders,
            **source,
        },
    )
    return len(packer.records)
