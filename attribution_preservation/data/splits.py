"""Image lists of a VOC folder: reads them and checks that they are consistent.

`ImageSets/Main/train.txt` and `val.txt` list the images for training and for evaluation.
`ImageSets/Segmentation/val.txt` lists the images that are evaluated with their masks. A list has one image name per
line, without folder or file ending. The lists of one class (`Main/dog_train.txt`) have a second column of -1, 0 and 1.
They are not needed, because the annotations contain the labels.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from attribution_preservation.errors import UserError

_OF_ONE_CLASS = re.compile(r"\S+\s+[-+]?[01]")
_ENDINGS = (".jpg", ".jpeg", ".png", ".xml")
_LONGEST = 60  # letters of a wrong line in a message


@dataclass(frozen=True)
class Splits:
    """Images for training and for evaluation.

    Attributes:
        train, val: images for training and for evaluation, in the order of the lists.
        masked: images of `val` that have masks.
        unlisted: number of images in `masked` that no list of Main names. In VOC 2012 these are the images of 2007.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    masked: frozenset[str]
    unlisted: int


def read_splits(root: Path) -> Splits:
    """Read the lists of a VOC folder and compare them with each other.

    Segmentation/train is optional. If it exists, Segmentation/val must not name its images.

    Args:
        root: the folder that contains ImageSets.

    Raises:
        UserError: a list is missing, empty or in another format, or an evaluation image is a training image.
    """
    main, segmentation = root / "ImageSets" / "Main", root / "ImageSets" / "Segmentation"
    train, val, masked = (read_names(path) for path in (main / "train.txt", main / "val.txt", segmentation / "val.txt"))
    _apart(main / "val.txt", val, main / "train.txt", train)
    _apart(segmentation / "val.txt", masked, main / "train.txt", train)
    unneeded = segmentation / "train.txt"
    if unneeded.exists() and unneeded.stat().st_size:
        _apart(segmentation / "val.txt", masked, unneeded, read_names(unneeded))
    unlisted = sorted(set(masked) - set(val))
    return Splits(tuple(train), (*val, *unlisted), frozenset(masked), len(unlisted))


def read_names(path: Path) -> list[str]:
    """Image names of a list, in the file's order.

    Line ends of any system, blank lines, blanks around a name and a byte order mark are allowed.

    Raises:
        UserError: the list is missing or empty, a line is not an image name, or a name occurs twice.
    """
    try:
        # Not splitlines, which also splits at characters that do not end a line in such lists.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; data.root must lead to a folder in the VOC layout") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not readable as text; restore the file") from None
    numbers: dict[str, int] = {}
    twice: list[str] = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        _check_name(path, number, name)
        if name in numbers:
            twice.append(f"{name} in lines {numbers[name]} and {number}")
        numbers.setdefault(name, number)
    if not numbers:
        raise UserError(f"{path} is empty; a split needs at least one image")
    if twice:
        raise UserError(f"{path} repeats {count(len(twice), 'name')} ({first_few(twice)}); name each image once")
    return list(numbers)


def count(number: int, noun: str) -> str:
    """A number with its noun, in the singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_few(names: Iterable[str]) -> str:
    """The first three names, and the number of the others."""
    names = list(names)
    more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _check_name(path: Path, number: int, name: str) -> None:
    quoted = repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...")
    if _OF_ONE_CLASS.fullmatch(name):
        raise UserError(
            f"{path}, line {number}: {quoted} is from a list of one class (name and -1, 0 or 1); "
            "take the list that has nothing but names"
        )
    if len(name.split()) > 1:
        raise UserError(
            f"{path}, line {number}: {quoted} is more than one word; "
            "write one image name per line, and rename images with spaces in their names"
        )
    outside = Path(name).name != name or PureWindowsPath(name).name != name
    if outside or name in (".", "..") or not name.isprintable():
        raise UserError(f"{path}, line {number}: {quoted} is no plain image name")
    if name.lower().endswith(_ENDINGS):
        raise UserError(f"{path}, line {number}: {quoted} has the ending of a file; write the name without it")


def _apart(path: Path, names: list[str], other: Path, training: list[str]) -> None:
    known = set(training)
    if both := [name for name in names if name in known]:
        where = f"{other.parent.name}/{other.name}"
        raise UserError(
            f"{path} names {count(len(both), 'training image')} of {where} ({first_few(both)}); "
            "an image is for training or for evaluation, so take it out of one list"
        )
