"""The data source PASCAL VOC 2012: a folder or an archive of the user, or the downloaded official archive."""

import shutil
from pathlib import Path

from attribution_preservation.data.archive import VOC2012_CHECKSUM, VOC2012_URL, download, unpack, verify
from attribution_preservation.data.source import Data, DataSource, pack_voc
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory, find_voc_root
from attribution_preservation.errors import UserError
from attribution_preservation.process.progress import Progress

_TRAINING_IMAGES = 5717  # in the official archive


def _pack(data: Data, raw: Path, out: Path) -> str:
    """`data.root` is a VOC directory (or contains VOCdevkit/VOC2012), or a tar archive of one."""
    given = raw / Path(VOC2012_URL).name if data.root is None else Path(data.root).expanduser()
    if data.root is None:
        download(VOC2012_URL, given, VOC2012_CHECKSUM)
    if given.is_dir():
        if data.checksum:
            raise UserError(f"data.checksum: {given} is a folder, only an archive has a checksum; set it to null")
        return pack_voc(VOCDirectory(find_voc_root(given), VOC_CLASSES), out)
    if not given.exists():
        raise UserError(f"data.root: {given} is neither a folder nor an archive")
    if data.checksum and data.root is not None:
        verify(given, data.checksum)
    unpacked = raw / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # a killed process may have left one
    unpacked.mkdir()
    progress = Progress(0, f"unpacking {given.name}", unit="file")
    try:
        unpack(given, unpacked, lambda: progress.advance(1))
        progress.close()
        return pack_voc(VOCDirectory(find_voc_root(unpacked), VOC_CLASSES), out)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _training_images(data: Data) -> int | None:
    return _TRAINING_IMAGES if data.root is None else None


VOC2012 = DataSource("voc2012", "PASCAL VOC 2012", _pack, training_images=_training_images)
