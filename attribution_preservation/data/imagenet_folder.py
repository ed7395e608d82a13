"""ImageNet-1k (ILSVRC 2012) in the usual folders: train/WNID/NAME.JPEG and val/WNID/NAME.JPEG.

If val/ is missing, the official archive of the validation images is used. It is a plain tar, whose members can be read
without unpacking. The development kit gives the classes of its images. A class's index is the position of its wnid
among the 1000 wnids in ascending order, as in every published network.
"""

import csv
import filecmp
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from attribution_preservation.data.archive import verify
from attribution_preservation.data.manifest import Manifest, Place, plain
from attribution_preservation.data.splits import count, first_few
from attribution_preservation.errors import UserError
from attribution_preservation.storage.files import digest

VAL_ARCHIVE = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
_ENDINGS = (".jpeg", ".jpg", ".png")
_AT_ONCE = 8  # folders that are read in parallel, because a network file system has a delay for every file
_DEVKIT_BYTES = 64 * 2**20  # the real one unpacks to 3 MB


@dataclass(frozen=True)
class ClassList:
    """The 1000 classes, in the order of their indices.

    Attributes:
        wnids: WordNet's identifiers of the synsets, ascending; they are the names of the image folders.
        names: short English names.
    """

    wnids: tuple[str, ...]
    names: tuple[str, ...]


@cache
def imagenet_classes() -> ClassList:
    """The class list in imagenet_classes.csv, next to this module."""
    with Path(__file__).with_name("imagenet_classes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    return ClassList(tuple(row["wnid"] for row in rows), tuple(row["name"] for row in rows))


@dataclass(frozen=True)
class FolderContents:
    """Contents of a folder of ImageNet.

    Attributes:
        manifest: its images.
        devkit: `md5:...` of the development kit; None if there is none.
    """

    manifest: Manifest
    devkit: str | None


def find_images(
    root: str, classes: int, devkit_checksum: str | None, on_folder: Callable[[], None] = lambda: None
) -> FolderContents:
    """Every image below a folder, in an order that does not depend on the file system.

    Only archives are opened, and images of one class that have the same name and size in train and val.

    Files whose names begin with a dot, or do not end in .JPEG, .jpg or .png, are ignored.

    Args:
        root: the folder; `~` is the user's home.
        classes: required number of class folders in `train` and in `val`.
        devkit_checksum: `md5:...` or `sha256:...` of the development kit, or None to skip verification.
        on_folder: called after each class's folder.

    Raises:
        UserError: a folder, archive or class is missing, empty or unknown; a name or checksum is wrong; or val contains
            training images.
    """
    folder = Path(root).expanduser()
    devkit, archive = folder / DEVKIT, folder / VAL_ARCHIVE
    if devkit.is_file() and devkit_checksum is not None:
        verify(devkit, devkit_checksum)
    places, packed = {"train": _below(folder / "train", classes, on_folder)}, None
    if (folder / "val").is_dir():
        places["val"] = _below(folder / "val", classes, on_folder)
    elif archive.is_file():
        places["val"], packed = _inside(archive, devkit), archive.name
    else:
        raise UserError(f"{folder} holds neither val/ nor {VAL_ARCHIVE}; check data.root")
    for part, other in (("train", "val"), ("val", "train")):
        if lacking := sorted(places[other].keys() - places[part].keys()):
            raise UserError(
                f"{folder}: {part} lacks {first_few(lacking)}, of which {other} has images; unpack it as well"
            )
    if packed is None:
        _check_apart(folder, places)
    manifest = Manifest.of(root, packed, imagenet_classes().wnids, places)
    return FolderContents(manifest, f"md5:{digest(devkit, 'md5')}" if devkit.is_file() else None)


def _below(folder: Path, classes: int, on_folder: Callable[[], None]) -> dict[str, list[Place]]:
    """Images by class folder."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is missing; data.root must hold train/WNID and val/WNID") from None
    if strange := sorted(set(names) - set(imagenet_classes().wnids)):
        raise UserError(f"{folder}: {first_few(strange)} is no class of ImageNet-1k; take it out of there")
    if len(names) != classes:
        raise UserError(
            f"{folder} holds {len(names)} class folders, data.imagenet.classes says {classes}; correct either"
        )
    places = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, of_class in zip(names, pool.map(lambda name: _images(folder / name), names), strict=True):
            places[name] = of_class
            on_folder()
    return places


def _check_apart(folder: Path, places: Mapping[str, Mapping[str, list[Place]]]) -> None:
    """Refuse training images in val, from linked folders or copied files; the error names the first such class."""
    for wnid, of_class in places["val"].items():
        train, val = folder / "train" / wnid, folder / "val" / wnid
        named = sorted(place.name for place in set(of_class) & set(places["train"][wnid]))
        linked = train.samefile(val)
        if both := [name for name in named if linked or filecmp.cmp(train / name, val / name, shallow=False)]:
            raise UserError(
                f"{val} holds {count(len(both), 'training image')} ({first_few(both)}); "
                "an image is for training or for evaluation, so unpack val again"
            )


def _images(folder: Path) -> list[Place]:
    with os.scandir(folder) as entries:
        places = [
            Place(entry.name, entry.stat().st_size)
            for entry in entries
            if entry.name.lower().endswith(_ENDINGS) and not entry.name.startswith(".") and entry.is_file()
        ]
    if not places:
        raise UserError(f"{folder} holds no image; a class needs at least one")
    return [_checked(folder, place) for place in places]


def _checked(where: Path, place: Place) -> Place:
    if not plain(place.name):
        raise UserError(f"{where}: {place.name!r} is no plain image name")
    if not place.size:
        raise UserError(f"{where / place.name} is empty; restore the file")
    return place


def _inside(archive: Path, devkit: Path) -> dict[str, list[Place]]:
    """Validation images by class, as members of the archive."""
    wnids = _ground_truth(devkit)
    try:
        with tarfile.open(archive, "r:") as tar:
            # Sparse files are left out, because their bytes are not contiguous.
            members = [member for member in tar if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)]
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise UserError(f"{archive} is truncated or no plain tar archive ({error}); fetch it again") from None
    if len(members) != len(wnids):
        raise UserError(
            f"{archive} holds {len(members)} images, {devkit.name} tells the classes of {len(wnids)}; fetch both again"
        )
    places: dict[str, list[Place]] = {}
    # Line n of the list belongs to the image with the n-th number, which has the n-th name.
    named = sorted((PurePosixPath(member.name).name, member) for member in members)
    for wnid, (name, member) in zip(wnids, named, strict=True):
        places.setdefault(wnid, []).append(_checked(archive, Place(name, member.size, member.offset_data)))
    return places


def _ground_truth(devkit: Path) -> list[str]:
    """Wnid of every validation image, by number."""
    if not devkit.is_file():
        raise UserError(f"{devkit} is missing, which tells the classes of {VAL_ARCHIVE}; put it there")
    # Imported here because checking a profile imports all data sources and does not need scipy.
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    wanted = {"ILSVRC2012_validation_ground_truth.txt": b"", "meta.mat": b""}
    try:
        with tarfile.open(devkit) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in wanted and member.isfile():
                    if member.size > _DEVKIT_BYTES:
                        raise ValueError(f"{name} has {member.size} bytes")
                    wanted[name] = tar.extractfile(member).read()
        synsets = np.atleast_1d(loadmat(io.BytesIO(wanted["meta.mat"]), squeeze_me=True)["synsets"])
        # Synsets with children are groups of classes.
        of_number = {
            int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets if not int(synset["num_children"])
        }
        numbers = wanted["ILSVRC2012_validation_ground_truth.txt"].split()
        wnids = [of_number[int(number)] for number in numbers]
        if strange := sorted(set(wnids) - set(imagenet_classes().wnids)):
            raise ValueError(f"{first_few(strange)} is no class of ImageNet-1k")
    # Errors that readers of archives and of MATLAB files raise for damaged files.
    except (tarfile.TarError, MatReadError, zlib.error, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{devkit} is not readable as ImageNet's development kit ({error}); fetch it again") from None
    return wnids
