"""The explorer: for each image one sprite sheet that holds it, its masks and every network's map of it; and the scores.

The upper part of a sheet has the picture, and right of it the outline of each class's mask, all of side S. The lower
part has the maps in rows of COLUMNS tiles of side T, each scaled by its own maximum. The sheet has the maps in colour,
because a page that is opened as a file can draw parts of a picture, but not read its pixels.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from attribution_preservation.drawing import matplotlib

COLUMNS = 24
_OUTLINE = (0, 255, 255)


@dataclass(frozen=True)
class MapOfPair:
    """One network's map of one pair.

    Attributes:
        map: [h, w], not negative.
        roc_auc: in percent; NaN where the object leaves no background.
        hit: whether its maximum lies on the object.
        predicted: whether the network predicts the class.
        cosine: to the teacher's map; None of a teacher.
    """

    map: np.ndarray
    roc_auc: float
    hit: bool
    predicted: bool
    cosine: float | None = None


@dataclass(frozen=True)
class PairCourse:
    """A student's maps of one pair: its teacher's, and for each level those of its methods.

    Attributes:
        class_name: whose maps these are; where classes exclude each other it is the teacher's top one.
        teacher: the full network's.
        levels: by level, for each method (None where it has no network there).
    """

    class_name: str
    teacher: MapOfPair
    levels: list[list[MapOfPair | None]]


@dataclass(frozen=True)
class PairMaps:
    """One (image, class) pair.

    Attributes:
        mask: where it is, bool [S, S].
        courses: by student, in the order of the explorer's courses.
    """

    mask: np.ndarray
    courses: list[PairCourse]


@dataclass(frozen=True)
class ImageMaps:
    """One image: uint8 [S, S, 3], and its pairs."""

    picture: np.ndarray
    classes: list[PairMaps]


@dataclass(frozen=True)
class Course:
    """The levels through which the slider moves.

    Attributes:
        title: compression and student.
        levels: in words, in order.
        methods: in words.
    """

    title: str
    levels: list[str]
    methods: list[str]


@dataclass
class _Sheet:
    side: int
    tiles: list[np.ndarray] = field(default_factory=list)

    def add(self, values: np.ndarray) -> int:
        """Number of the map's tile; maps that are the same, as a teacher's are for its students, have one."""
        tile = _coloured(values, self.side)
        for number, known in enumerate(self.tiles):
            if np.array_equal(known, tile):
                return number
        self.tiles.append(tile)
        return len(self.tiles) - 1


def explorer_files(courses: Sequence[Course], images: Sequence[ImageMaps]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The explorer's data, and its sheets as PNG by file name.

    Returns:
        Data: `size` S, `tile` T, `columns`, `courses` (as given) and `images`, each with `sheet`, `height` of its upper
        part and `classes`: `outline` (its number beside the picture) and `courses`, each with `class`, `teacher` and
        `levels`. A map is [tile, ROC-AUC, hit, predicted, cosine], with None for what it has not; of a map that is zero
        everywhere the tile is None.
    """
    side = max((len(_first(image).teacher.map) for image in images), default=1)
    data: dict[str, Any] = {
        "size": len(images[0].picture) if images else 1,
        "tile": side,
        "columns": COLUMNS,
        "courses": [vars(course) for course in courses],
        "images": [],
    }
    sheets = {}
    for number, image in enumerate(images):
        sheet, name = _Sheet(side), f"{number:03d}.png"
        classes = [
            {
                "outline": 1 + place,
                "courses": [
                    {
                        "class": course.class_name,
                        "teacher": _entry(sheet, course.teacher),
                        "levels": [[_entry(sheet, of_pair) for of_pair in level] for level in course.levels],
                    }
                    for course in pair.courses
                ],
            }
            for place, pair in enumerate(image.classes)
        ]
        data["images"].append({"sheet": name, "classes": classes})
        sheets[name] = _png(image, sheet)
    return data, sheets


def _first(image: ImageMaps) -> PairCourse:
    return max((course for pair in image.classes for course in pair.courses), key=lambda c: len(c.teacher.map))


def _entry(sheet: _Sheet, of_pair: MapOfPair | None) -> list[Any] | None:
    if of_pair is None:
        return None
    area = None if np.isnan(of_pair.roc_auc) else round(float(of_pair.roc_auc), 1)
    cosine = None if of_pair.cosine is None or np.isnan(of_pair.cosine) else round(float(of_pair.cosine), 3)
    tile = sheet.add(of_pair.map) if of_pair.map.any() else None
    return [tile, area, int(of_pair.hit), int(of_pair.predicted), cosine]


def _coloured(values: np.ndarray, side: int) -> np.ndarray:
    """A map by its own maximum, in colours whose lightness grows with it, uint8 [T, T, 3]."""
    scaled = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    scaled = scaled / scaled.max().clamp(min=torch.finfo(torch.float32).tiny)
    if len(values) != side:
        scaled = F.interpolate(scaled[None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]
    colours = matplotlib.colormaps["inferno"](scaled.numpy())[..., :3]
    return (255 * colours).round().astype(np.uint8)


def _png(image: ImageMaps, sheet: _Sheet) -> bytes:
    size, side = len(image.picture), sheet.side
    rows = -(-len(sheet.tiles) // COLUMNS)
    canvas = np.zeros((size + rows * side, max(size * (1 + len(image.classes)), COLUMNS * side), 3), dtype=np.uint8)
    canvas[:size, :size] = image.picture
    for place, pair in enumerate(image.classes, start=1):
        canvas[:size, place * size : (place + 1) * size] = np.where(_outline(pair.mask)[..., None], _OUTLINE, 0)
    for number, tile in enumerate(sheet.tiles):
        row, column = divmod(number, COLUMNS)
        top = size + row * side
        canvas[top : top + side, column * side : (column + 1) * side] = tile
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that touch what is outside it, bool [S, S]."""
    inside = mask.copy()
    padded = np.pad(mask, 1)
    for shift in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inside &= padded[shift[0] : shift[0] + len(mask), shift[1] : shift[1] + mask.shape[1]]
    return mask & ~inside
