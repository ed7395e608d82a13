"""The data source ImageNet-1k: a folder of the user and a file with masks, or a generated miniature."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from attribution_preservation.data.archive import download, verify
from attribution_preservation.data.imagenet_folder import find_images, imagenet_classes
from attribution_preservation.data.miniature import MINIATURE_WNIDS, SEGMENTATION_FILE, write_miniature
from attribution_preservation.data.segmentation import SEGMENTATION_URL, read_segmentation
from attribution_preservation.data.source import Checksum, Data, DataSource, Files
from attribution_preservation.data.store_writer import pack_beside
from attribution_preservation.errors import UserError
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import Section, Seed
from attribution_preservation.storage.files import atomic_directory, digest


class Miniature(Section):
    """Generated images in the layout of ImageNet, each with one handwritten digit.

    Attributes:
        seed: seed of the images; independent of the seeds of training.
        train_images: number of training images of each of the ten classes.
        val_images: number of validation images of each of the ten classes.
        segmented_images: number of images with masks.
        smallest: least length of an image's side in pixels.
        largest: greatest length of an image's side in pixels.
    """

    seed: Seed
    train_images: Files
    val_images: Files
    segmented_images: Files
    smallest: Annotated[int, Field(ge=48, le=512)]
    largest: Annotated[int, Field(ge=48, le=512)]

    @model_validator(mode="after")
    def _ascending(self) -> "Miniature":
        if self.largest < self.smallest:
            raise ValueError(f"largest ({self.largest}) is less than smallest ({self.smallest})")
        return self


class ImageNet(Section):
    """ImageNet-1k, or some of its classes.

    Attributes:
        classes: required number of class folders; networks always have 1000 classes.
        devkit_checksum: `md5:...` or `sha256:...` of ILSVRC2012_devkit_t12.tar.gz if `data.root` has it, or null to
            skip verification.
        segmentation: file of images with masks, gtsegs_ijcv.mat; null downloads it.
        segmentation_checksum: checksum of that file, or null to skip verification.
        miniature: settings of the images and masks that are generated if `data.root` is null.
    """

    classes: Annotated[int, Field(ge=1, le=1000)]
    devkit_checksum: Checksum | None
    segmentation: str | None
    segmentation_checksum: Checksum | None
    miniature: Miniature


def _write_miniature(settings: Miniature, raw: Path) -> Path:
    """Generate the miniature and return its folder.

    The settings are part of the folder's name. DVC can restore an earlier data set without running this stage, and the
    images of that data set's manifest are then still there.
    """
    root = raw / "-".join(["miniature", *map(str, settings.model_dump().values())])
    of_classes = len(MINIATURE_WNIDS) * (settings.train_images + settings.val_images)
    progress = Progress(of_classes + settings.segmented_images, "images")
    with atomic_directory(root) as partial:
        write_miniature(partial, **settings.model_dump(), on_image=lambda: progress.advance(1))
    progress.close()
    return root


def _segmentation(root: Path, data: Data, raw: Path) -> Path:
    """The file with masks, verified if its checksum is known."""
    given, checksum = data.settings.segmentation, data.settings.segmentation_checksum
    if given is not None:
        path = Path(given).expanduser()
    elif data.root is None:
        return root / SEGMENTATION_FILE
    else:
        path = raw / SEGMENTATION_FILE
        download(SEGMENTATION_URL, path, checksum, "data.imagenet.segmentation")
    if checksum is not None and path.is_file():
        verify(path, checksum)
    return path


def _pack(data: Data, raw: Path, out: Path) -> str:
    """`data.root` is the folder that contains train and val; null generates a miniature."""
    settings: ImageNet = data.settings
    if data.checksum:
        raise UserError("data.checksum: ImageNet is a folder, only an archive has a checksum; set it to null")
    root = _write_miniature(settings.miniature, raw) if data.root is None else Path(data.root)
    progress = Progress(0, f"looking through {root}", unit="folder")
    # The root as given, so that the output does not name a user's home folder.
    contents = find_images(str(root), settings.classes, settings.devkit_checksum, lambda: progress.advance(1))
    progress.close()
    # After the folders: searching them takes seconds, but this file may have to be downloaded.
    segmentation = _segmentation(root, data, raw)
    progress, empty = Progress(0, "packing"), list[str]()
    with atomic_directory(out) as partial:
        masked = read_segmentation(segmentation, empty.append)
        source = {"devkit": contents.devkit}
        names = imagenet_classes().names
        count = pack_beside(contents.manifest, masked, names, partial, source, lambda: progress.advance(1))
    progress.close()
    left_out = f", {len(empty)} without an object left out" if empty else ""
    return (
        f"{contents.manifest.train} images for training, "
        f"{len(contents.manifest) - contents.manifest.train} for predictions, "
        f"{count} with masks (sha256:{digest(segmentation)}{left_out}) in {out}"
    )


def _training_images(data: Data) -> int | None:
    return len(MINIATURE_WNIDS) * data.settings.miniature.train_images if data.root is None else None


IMAGENET = DataSource("imagenet", "ImageNet-1k", _pack, ImageNet, _training_images, exclusive=True)
