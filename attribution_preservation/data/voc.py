"""The PASCAL VOC layout: ImageSets, JPEGImages, Annotations, SegmentationClass.

Labels come from the XML annotations, not from the per-class lists. Objects marked difficult are included. Masks contain
class indices from 1 in the order of the class list, 0 for background and 255 for void.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from defusedxml import DefusedXmlException, ElementTree
from PIL import Image

from attribution_preservation.data.pictures import decode, png_depth, rgb
from attribution_preservation.data.splits import read_names
from attribution_preservation.errors import UserError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255


def voc_colour(index: int) -> tuple[int, int, int]:
    """Red, green and blue of an index in VOC's masks: each three bits give one bit per colour, highest first."""
    red, green, blue = (sum((index >> (3 * k + channel) & 1) << (7 - k) for k in range(8)) for channel in range(3))
    return red, green, blue


# Black is left out, because palettes are padded with it.
_COLOURS = {voc_colour(index): index for index in (*range(1, len(VOC_CLASSES) + 1), VOID)}


@dataclass(frozen=True)
class VOCDirectory:
    """A folder in the VOC layout and the classes that its annotations use.

    Attributes:
        root: the folder that contains JPEGImages.
        classes: class names; a mask's value is the position of its class in this list, from 1.

    Raises:
        ValueError: a class occurs twice.
    """

    root: Path
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"a class is there twice: {', '.join(self.classes)}")

    def split(self, kind: str, part: str) -> list[str]:
        """Image names of a split, e.g. `("Main", "train")`, in the file's order.

        Raises:
            UserError: the list is missing or empty, a line is not an image name, or a name occurs twice.
        """
        return read_names(self.root / "ImageSets" / kind / f"{part}.txt")

    def image(self, name: str) -> np.ndarray:
        """Decoded image, uint8 RGB [H, W, 3].

        Raises:
            UserError: the file is missing, truncated or not an image.
        """
        path = self.root / "JPEGImages" / f"{name}.jpg"
        return rgb(_open(path, "JPEG"), path)

    def mask(self, name: str) -> np.ndarray:
        """Class mask, uint8 [H, W]: 0 background, 1 to C classes, 255 void.

        Raises:
            UserError: the file is missing or unreadable, or has a value that is not a class.
        """
        return self._mask(name)[0]

    def compared_mask(self, name: str, labels: Sequence[int]) -> tuple[np.ndarray, bool]:
        """The mask, and whether it agrees with the image's labels and with its own palette.

        A program that renumbers palettes keeps colours and changes indices. The mask then has a class that is not among
        the labels, or an index with VOC's colour of another class. A class of the labels may be missing in the mask,
        because an object may be too small.

        Args:
            name: name of the image.
            labels: classes of its annotation, from 0.

        Raises:
            UserError: see `mask`.
        """
        mask, palette = self._mask(name)
        present = np.setdiff1d(mask, [0, VOID])
        return mask, {int(value) - 1 for value in present} <= set(labels) and not self._recoloured(mask, palette)

    def _mask(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The mask and its palette, uint8 [K, 3]; the palette is empty if the file has none."""
        path = self.root / "SegmentationClass" / f"{name}.png"
        picture = _open(path, "PNG")
        # Pillow scales grey levels of fewer than 8 bits, which changes the indices.
        depth = png_depth(path) if picture.mode == "L" else 8
        mode = picture.mode if depth == 8 else f"L with {depth} bits"
        if mode not in ("P", "L"):
            raise UserError(f"{path}: a mask holds one class index per pixel, this picture's mode is {mode}")
        mask = np.array(picture, dtype=np.uint8)
        wrong = np.setdiff1d(mask, [*range(len(self.classes) + 1), VOID])
        if wrong.size:
            raise UserError(f"{path}: {wrong[0]} is no class index (0 to {len(self.classes)}, or {VOID} for void)")
        return mask, np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)

    def _recoloured(self, mask: np.ndarray, palette: np.ndarray) -> bool:
        """Whether an index of a mask has VOC's colour of another index."""
        if self.classes != VOC_CLASSES:
            return False  # other classes have no known colours
        used = [int(value) for value in np.unique(mask) if value < len(palette)]
        return any(_COLOURS.get(tuple(palette[value].tolist()), value) != value for value in used)

    def labels(self, name: str) -> list[int]:
        """Sorted indices, from 0, of the classes with an object in the annotation.

        Raises:
            UserError: the file is missing or broken, names an unknown class, or has no object.
        """
        path = self.root / "Annotations" / f"{name}.xml"
        try:
            tree = ElementTree.parse(path)
        except FileNotFoundError:
            raise UserError(f"{path} is missing; every image of a split needs its annotation") from None
        except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise UserError(f"{path} is not readable as XML: {error}") from None
        indices = set()
        for node in tree.getroot().iterfind("object"):
            label = (node.findtext("name") or "").strip()
            if label not in self.classes:
                raise UserError(f"{path}: unknown class {label!r}; known are {', '.join(self.classes)}")
            indices.add(self.classes.index(label))
        if not indices:
            raise UserError(f"{path} names no object; an image without a label cannot be used")
        return sorted(indices)


def find_voc_root(folder: Path) -> Path:
    """The folder below (or at) `folder` that contains JPEGImages.

    Raises:
        UserError: no such folder exists.
    """
    for candidate in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012"):
        if (candidate / "JPEGImages").is_dir():
            return candidate
    raise UserError(f"{folder} holds neither JPEGImages nor VOCdevkit/VOC2012/JPEGImages; check data.root")


def _open(path: Path, form: str) -> Image.Image:
    try:
        return decode(path, path, (form,))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; a split names it") from None
