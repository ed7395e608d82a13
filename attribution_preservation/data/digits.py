"""Generated scenes in the VOC layout: scikit-learn's handwritten digits on a textured, cluttered background.

Each scene has a smooth random colour texture at half brightness and one to three patches of plain colour as clutter.
One or two handwritten digits in light colours are drawn on it without overlap. The mask follows the strokes, with void
pixels where ink fades into the background. Handwriting samples are split first, so no sample is in both training and
evaluation.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field

from attribution_preservation.data.scenes import INK, Canvas, divided_handwriting
from attribution_preservation.data.source import Data, DataSource, Files, pack_voc
from attribution_preservation.data.voc import VOID, VOCDirectory
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import Section, Seed
from attribution_preservation.storage.files import atomic_directory

DIGIT_CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PALETTE = [0, 0, 0] + [channel for k in range(1, 11) for channel in (25 * k, 255 - 25 * k, 40 + 20 * k)]
_SEAM = 0.25  # share of full ink above which a pixel is void, unless it is a stroke


def write_scenes(
    root: Path,
    *,
    seed: int,
    size: int,
    train_images: int,
    evaluation_images: int,
    on_scene: Callable[[], None] = lambda: None,
) -> None:
    """Write a whole VOC directory of scenes.

    Args:
        root: an existing folder.
        seed: equal seeds give equal bytes.
        size: side of a scene in pixels; a digit's side is between 0.38 and 0.50 of it.
        train_images, evaluation_images: number of scenes in the splits `train` and `val`.
        on_scene: called after each scene.
    """
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    handwriting = divided_handwriting(seed)
    for part, count, stream in (("train", train_images, 1), ("val", evaluation_images, 2)):
        names = []
        for number in range(count):
            name = f"{part}_{number:05d}"
            scene = _Scene(size, np.random.default_rng([seed, stream, number]))
            scene.draw(*handwriting[part])
            scene.write(root, name)
            names.append(name)
            on_scene()
        for kind in ("Main", "Segmentation"):
            (root / "ImageSets" / kind / f"{part}.txt").write_text("\n".join(names) + "\n")


class _Scene:
    def __init__(self, size: int, random: np.random.Generator) -> None:
        self._size, self._random = size, random
        self._mask = np.zeros((size, size), dtype=np.uint8)
        self._objects: list[tuple[int, tuple[int, int, int, int]]] = []
        self._canvas = Canvas(size, size, random)

    def draw(self, handwriting: np.ndarray, digits: np.ndarray) -> None:
        """Place one or two digits. The second one is left out if every tried place overlaps the first one."""
        taken: list[tuple[int, int, int]] = []
        for _ in range(self._random.integers(1, 3)):
            side = int(self._random.integers(round(0.38 * self._size), round(0.50 * self._size) + 1))
            sample = int(self._random.integers(len(digits)))
            color = self._random.uniform(0.7, 1.0, 3)
            for _ in range(60):
                top, left = (int(v) for v in self._random.integers(0, self._size - side + 1, 2))
                if all(_apart((top, left, side), other) for other in taken):
                    taken.append((top, left, side))
                    self._draw_digit(handwriting[sample], int(digits[sample]), color, top, left, side)
                    break

    def write(self, root: Path, name: str) -> None:
        """Write picture, mask and annotation."""
        self._canvas.picture.save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        mask = Image.fromarray(self._mask)
        mask.putpalette(_PALETTE + [0] * (3 * (VOID - 11)) + [224, 224, 192])
        mask.save(root / "SegmentationClass" / f"{name}.png")
        annotation = ElementTree.Element("annotation")
        ElementTree.SubElement(annotation, "filename").text = f"{name}.jpg"
        extent = ElementTree.SubElement(annotation, "size")
        for key, value in (("width", self._size), ("height", self._size), ("depth", 3)):
            ElementTree.SubElement(extent, key).text = str(value)
        for digit, box in self._objects:
            node = ElementTree.SubElement(annotation, "object")
            ElementTree.SubElement(node, "name").text = DIGIT_CLASSES[digit]
            ElementTree.SubElement(node, "difficult").text = "0"
            corners = ElementTree.SubElement(node, "bndbox")
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                ElementTree.SubElement(corners, key).text = str(value)
        ElementTree.ElementTree(annotation).write(root / "Annotations" / f"{name}.xml")

    def _draw_digit(self, sample: np.ndarray, digit: int, color: np.ndarray, top: int, left: int, side: int) -> None:
        ink = self._canvas.write(sample, color, top, left, side)
        window = np.s_[top : top + side, left : left + side]
        self._mask[window][ink > _SEAM] = VOID
        self._mask[window][ink > INK] = digit + 1
        rows, columns = np.nonzero(ink > INK)
        box = (left + columns.min() + 1, top + rows.min() + 1, left + columns.max() + 1, top + rows.max() + 1)
        self._objects.append((digit, tuple(int(v) for v in box)))


def _apart(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    return a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[2] <= b[1] or b[1] + b[2] <= a[1]


class Digits(Section):
    """Settings of the source.

    Attributes:
        seed: seed of the scenes, independent of the seeds of training.
        size: side of a scene in pixels.
        train_images: number of scenes for training.
        evaluation_images: number of scenes for evaluation.
    """

    seed: Seed
    size: Annotated[int, Field(ge=48, le=512)]
    train_images: Files
    # Similarity of layers needs at least four images, and a single image cannot be resampled.
    evaluation_images: Annotated[Files, Field(ge=4)]


def _pack(data: Data, raw: Path, out: Path) -> str:
    settings: Digits = data.settings
    progress = Progress(settings.train_images + settings.evaluation_images, "scenes")
    with atomic_directory(raw / "digits") as partial:
        write_scenes(partial, **settings.model_dump(), on_scene=lambda: progress.advance(1))
    progress.close()
    return pack_voc(VOCDirectory(raw / "digits", DIGIT_CLASSES), out)


def _training_images(data: Data) -> int:
    return data.settings.train_images


DIGITS = DataSource("digits", "Handwritten digits", _pack, Digits, _training_images)
