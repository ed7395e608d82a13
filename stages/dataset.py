"""Stage dataset: images, labels and masks from the chosen source, decoded once into a packed store.

ImageNet's own images stay where they are: a manifest stands for them.
"""

import shutil
from pathlib import Path

from attribution_preservation.data.archive import VOC2012_CHECKSUM, VOC2012_URL, download, unpack, verify
from attribution_preservation.data.data_settings import Data, Miniature
from attribution_preservation.data.digits import DIGIT_CLASSES, write_scenes
from attribution_preservation.data.imagenet import find_images, imagenet_classes
from attribution_preservation.data.miniature import MINIATURE_WNIDS, SEGMENTATION_FILE, write_miniature
from attribution_preservation.data.segmentation import SEGMENTATION_URL, read_segmentation
from attribution_preservation.data.store import pack, pack_beside
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory, find_voc_root
from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.files import atomic_directory, digest

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
    if data.source == "imagenet":
        if data.checksum:
            raise UserError("data.checksum: ImageNet is a folder, only an archive has a checksum; set it to null")
        root = _miniature(data.imagenet.miniature) if data.root is None else Path(data.root)
        return _pack_imagenet(root, data, stage.out)
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
    progress, notes = Progress(0, "packing"), list[str]()
    with atomic_directory(out) as partial:
        count = pack(source, partial, lambda: progress.advance(1), notes.append)
    progress.close()
    return ". ".join([f"{count} images of {len(source.classes)} classes in {out}", *notes])


def _miniature(settings: Miniature) -> Path:
    """Make the miniature; returns its folder.

    The folder's name tells its settings: DVC brings an earlier data set back without running this stage, and finds the
    images of its manifest still there.
    """
    root = RAW / "-".join(["miniature", *map(str, settings.model_dump().values())])
    of_classes = len(MINIATURE_WNIDS) * (settings.train_images + settings.val_images)
    progress = Progress(of_classes + settings.segmented_images, "images")
    with atomic_directory(root) as partial:
        write_miniature(partial, **settings.model_dump(), on_image=lambda: progress.advance(1))
    progress.close()
    return root


def _segmentation(root: Path, data: Data) -> Path:
    """The file with masks, verified where its checksum is known."""
    given, checksum = data.imagenet.segmentation, data.imagenet.segmentation_checksum
    if given is not None:
        path = Path(given).expanduser()
    elif data.root is None:
        return root / SEGMENTATION_FILE
    else:
        path = RAW / SEGMENTATION_FILE
        download(SEGMENTATION_URL, path, checksum, "data.imagenet.segmentation")
    if checksum is not None and path.is_file():
        verify(path, checksum)
    return path


def _pack_imagenet(root: Path, data: Data, out: Path) -> str:
    settings = data.imagenet
    progress = Progress(0, f"looking through {root}", unit="folder")
    # As it was given: an out names no user's home.
    found = find_images(str(root), settings.classes, settings.devkit_checksum, lambda: progress.advance(1))
    progress.close()
    # After the folders: they are looked through in seconds, the file may have to be downloaded.
    segmentation = _segmentation(root, data)
    progress, empty = Progress(0, "packing"), list[str]()
    with atomic_directory(out) as partial:
        masked = read_segmentation(segmentation, empty.append)
        told = {"devkit": found.devkit}
        names = imagenet_classes().names
        count = pack_beside(found.manifest, masked, names, partial, told, lambda: progress.advance(1))
    progress.close()
    left_out = f", {len(empty)} without an object left out" if empty else ""
    return (
        f"{found.manifest.train} images for training, {len(found.manifest) - found.manifest.train} for predictions, "
        f"{count} with masks (sha256:{digest(segmentation)}{left_out}) in {out}"
    )


if __name__ == "__main__":
    run("dataset", main)
