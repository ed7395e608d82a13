"""Stage dataset: images, labels and masks from the chosen source, decoded once into a packed store."""

import shutil
from pathlib import Path

from attribution_preservation.data.archive import VOC2012_CHECKSUM, VOC2012_URL, download, unpack, verify
from attribution_preservation.data.digits import DIGIT_CLASSES, write_scenes
from attribution_preservation.data.store import pack
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory, find_voc_root
from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.files import atomic_directory
from attribution_preservation.pipeline.run.progress import Progress
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.data import Data

RAW = Path("data/raw")


def main(stage: Stage) -> str:
    """Obtain the source and pack it."""
    data = stage.section("data", Data)
    RAW.mkdir(parents=True, exist_ok=True)
    if data.source == "digits":
        root = RAW / "digits"
        progress = Progress(data.digits.train_images + data.digits.evaluation_images, "scenes")
        with atomic_directory(root) as partial:
            write_scenes(partial, **data.digits.model_dump(), on_scene=lambda: progress.advance(1))
        progress.close()
        return _pack(VOCDirectory(root, DIGIT_CLASSES), stage.out)
    given = RAW / Path(VOC2012_URL).name if data.root is None else Path(data.root).expanduser()
    if data.root is None:
        download(VOC2012_URL, given, VOC2012_CHECKSUM)
    if given.is_dir():
        if data.checksum:
            raise UserError(f"data.checksum: {given} is a folder, only an archive has a checksum; set it to null")
        return _pack(VOCDirectory(find_voc_root(given), VOC_CLASSES), stage.out)
    if not given.exists():
        raise UserError(f"data.root: {given} is neither a folder nor an archive")
    if data.checksum and data.root is not None:
        verify(given, data.checksum)
    unpacked = RAW / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # a killed process may have left one
    unpacked.mkdir()
    progress = Progress(0, f"unpacking {given.name}", unit="file")
    try:
        unpack(given, unpacked, lambda: progress.advance(1))
        progress.close()
        return _pack(VOCDirectory(find_voc_root(unpacked), VOC_CLASSES), stage.out)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _pack(source: VOCDirectory, out: Path) -> str:
    progress = Progress(0, "packing")
    with atomic_directory(out) as partial:
        count = pack(source, partial, lambda: progress.advance(1))
    progress.close()
    return f"{count} images of {len(source.classes)} classes in {out}"


if __name__ == "__main__":
    run("dataset", main)
