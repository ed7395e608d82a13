"""List of images that stay in their original files, with place and size. Every access decodes the image.

A manifest is a table with one row per image: its part (`train` or `val`), the folder of its class, its name, its size
in bytes and its offset. The offset is its first byte in a tar archive, or 0 for a separate file. Manifests are for data
sets that have too many images to copy them or to hash their bytes.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attribution_preservation.data.pictures import decode, rgb
from attribution_preservation.errors import UserError

PARTS = ("train", "val")
LONGEST_NAME = 64  # bytes
_HEADER = "part,folder,name,size,offset\n"
_REMEDY = "run the stage dataset again (dvc repro -f dataset)"


class Place(NamedTuple):
    """Place of one image.

    Attributes:
        name: name of its file or of the archive's member, without folders.
        size: size in bytes.
        offset: its first byte in the archive; 0 for a separate file.
    """

    name: str
    size: int
    offset: int = 0


def plain(name: str) -> bool:
    """Whether a manifest can store a file's name unchanged."""
    return name.isascii() and name.isprintable() and not set(name) & set(',"/') and len(name) <= LONGEST_NAME


@dataclass(frozen=True)
class Manifest:
    """The images of a data set, each of one class, in arrays because there may be a million images.

    Attributes:
        root: the folder that contains PART/FOLDER/NAME; `~` is the user's home.
        archive: name of the tar archive in `root` that contains the images whose offset is not 0, or None.
        folders: name of each class's folder, ascending.
        train: number of training images, which come first; the others are for evaluation.
        labels: class index, int64 [N].
        names: file names, bytes [N].
        sizes, offsets: see `Place`, int64 [N].
    """

    root: str
    archive: str | None
    folders: tuple[str, ...]
    train: int
    labels: np.ndarray
    names: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(
        cls,
        root: str,
        archive: str | None,
        folders: tuple[str, ...],
        places: Mapping[str, Mapping[str, Iterable[Place]]],
    ) -> "Manifest":
        """A manifest of images by part and folder, sorted by folder and name."""
        labelled = [
            (label, place)
            for part in PARTS
            for label, folder in enumerate(folders)
            for place in sorted(places[part].get(folder, ()), key=lambda place: place.name)
        ]
        return cls(
            root,
            archive,
            folders,
            sum(len(list(of_class)) for of_class in places["train"].values()),
            np.array([label for label, _ in labelled], dtype=np.int64),
            np.array([place.name.encode() for _, place in labelled]),
            np.array([place.size for _, place in labelled], dtype=np.int64),
            np.array([place.offset for _, place in labelled], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, position: int) -> np.ndarray:
        """Decoded image, uint8 RGB [H, W, 3], equal to that of torchvision's ImageFolder.

        Grey, CMYK and PNG pictures become RGB, and 16 bits per channel become 8. The orientation in EXIF data is not
        applied, because the published networks were trained and evaluated without it.

        Raises:
            UserError: the file is missing, its size has changed since the manifest was made, or it is not a JPEG or
                PNG picture.
        """
        folder, name = Path(self.root).expanduser(), self.names[position].decode()
        offset, size = int(self.offsets[position]), int(self.sizes[position])
        part = PARTS[position >= self.train]
        path = folder / (self.archive or "") if offset else folder / part / self.folders[self.labels[position]] / name
        try:
            with path.open("rb") as stream:
                stream.seek(offset)
                content = stream.read(size) if offset else stream.read()
        except FileNotFoundError:
            raise UserError(f"{path} is missing, which was there when the data set was made; {_REMEDY}") from None
        where = f"{path}: {name}" if offset else path
        if len(content) != size:
            raise UserError(f"{where} has {len(content)} bytes, {size} when the data set was made; {_REMEDY}")
        return rgb(decode(io.BytesIO(content), where, ("JPEG", "PNG")), where)

    def write(self, path: Path) -> None:
        """Write the table as CSV, without root and archive."""
        columns = (self.labels, self.names, self.sizes, self.offsets)
        with path.open("w", encoding="ascii", newline="\n") as stream:
            stream.write(_HEADER)
            for row, (label, name, size, offset) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
                stream.write(f"{PARTS[row >= self.train]},{self.folders[label]},{name.decode()},{size},{offset}\n")

    @classmethod
    def read(cls, path: Path, root: str, archive: str | None, folders: tuple[str, ...]) -> "Manifest":
        """Read a table that `write` has written.

        Raises:
            ValueError: the file is not such a table.
        """
        longest = max(map(len, folders)) + 1  # longer names are cut off, and then match no folder
        kinds = ("S6", f"S{longest}", f"S{LONGEST_NAME}", "i8", "i8")
        row = list(zip(_HEADER.strip().split(","), kinds, strict=True))
        with path.open(encoding="ascii", newline="\n") as stream:
            if stream.readline() != _HEADER:
                raise ValueError(f"{path} has another header")
            table = np.loadtxt(stream, dtype=row, delimiter=",", comments=None, ndmin=1)
        known, train = np.array(folders, dtype="S"), int((table["part"] == b"train").sum())
        labels = np.searchsorted(known, table["folder"]).clip(max=len(known) - 1)
        ordered = np.array([b"train", b"val"]).repeat([train, len(table) - train])
        whole = (table["size"] > 0) & (table["offset"] >= 0) & ((table["offset"] == 0) | (archive is not None))
        if not (
            np.array_equal(table["part"], ordered) and np.array_equal(known[labels], table["folder"]) and whole.all()
        ):
            raise ValueError(f"{path} names a part or folder that there is not, or images without bytes")
        # Only as wide as the longest name: a million names would otherwise take twice the memory.
        names = table["name"].astype(f"S{int(np.char.str_len(table['name']).max())}")
        return cls(root, archive, folders, train, labels, names, table["size"].copy(), table["offset"].copy())
