"""Sections `data` (where images come from) and `input` (what a network is shown of them)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from attribution_preservation.settings import Section, Seed, Side, between

Channel = Annotated[float, Field(ge=0, le=1)]
# Images are divided by it: a quarter of a step of the 8-bit scale is the least that real ones could have.
Deviation = Annotated[float, Field(gt=0, le=1), between(0.001, 1)]
# Each is a file of its own; ImageNet has 1.3 million.
Files = Annotated[int, Field(gt=0, le=10**6)]
Checksum = Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]


class Digits(Section):
    """Scenes of real handwriting.

    Attributes:
        seed: of the scenes; independent of the seeds of training.
        size: side of a scene in pixels.
        train_images, evaluation_images: number of scenes in each part.
    """

    seed: Seed
    size: Annotated[int, Field(ge=48, le=512)]
    train_images: Files
    # Likeness of layers is estimated from four images at least, and one alone cannot be resampled.
    evaluation_images: Annotated[Files, Field(ge=4)]


class Miniature(Section):
    """Photographs in miniature: real handwriting in the layout of ImageNet, one digit each.

    Attributes:
        seed: of the images; independent of the seeds of training.
        train_images, val_images: number of images of each of the ten classes.
        segmented_images: number of images with masks.
        smallest, largest: least and greatest length of an image's side in pixels.
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
        classes: how many class folders there must be; networks have 1000 classes in any case.
        devkit_checksum: `md5:...` or `sha256:...` of ILSVRC2012_devkit_t12.tar.gz where it lies in `data.root`, or null
            to take it as it is.
        segmentation: images with masks, gtsegs_ijcv.mat; null downloads it.
        segmentation_checksum: of that file, or null to take it as it is.
        miniature: how images are made where `data.root` is null, masks included.
    """

    classes: Annotated[int, Field(ge=1, le=1000)]
    devkit_checksum: Checksum | None
    segmentation: str | None
    segmentation_checksum: Checksum | None
    miniature: Miniature


class Data(Section):
    """Where images, labels and masks come from.

    Attributes:
        source: `digits` is generated, `voc2012` is PASCAL VOC 2012, `imagenet` is ImageNet-1k.
        root: of VOC a directory (or one that holds VOCdevkit/VOC2012) or a tar archive of one; null downloads the
            official archive. Of ImageNet the folder that holds train and val; null generates a miniature.
        checksum: `md5:...` or `sha256:...` of the archive at `root`, or null to take it as it is.
        digits: how the generated scenes are made.
        imagenet: what only ImageNet has.
    """

    source: Literal["digits", "voc2012", "imagenet"]
    root: str | None
    checksum: Checksum | None
    digits: Digits
    imagenet: ImageNet


class Framing(Section):
    """How a whole image becomes the square that a network is shown.

    Attributes:
        size: side of the square in pixels.
        resize: None squeezes the whole image into the square; a number is the length to which the image's shorter side
            is resized, before the square is cut from its centre.
    """

    size: Side
    resize: Annotated[int, Field(gt=0, le=8192)] | None = None

    @model_validator(mode="after")
    def _cut_from_what_is_there(self) -> "Framing":
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"a square of {self.size} pixels cannot be cut from an image resized to {self.resize}")
        return self


class Input(Framing):
    """What a network is shown: square images, normalised per channel (R, G, B in [0, 1])."""

    size: Annotated[int, Field(ge=32, le=1024)]
    mean: Annotated[list[Channel], Field(min_length=3, max_length=3)]
    std: Annotated[list[Deviation], Field(min_length=3, max_length=3)]
