"""ImageNet in miniature, made offline: photographs' folders and the file with masks, of real handwriting.

Each image shows one digit near its centre, as most of ImageNet's show their object, on textured, cluttered ground.
Sizes and aspect ratios differ, and some images are grey. Handwriting is divided before anything is drawn: no sample
occurs in two of training, validation and the images with masks.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from attribution_preservation.data.scenes import INK, Canvas, divided_handwriting

# A digit's class is one of Imagenette's ten: every network of ImageNet-1k knows them.
MINIATURE_WNIDS = (
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
    "n03394916", "n03417042", "n03425413", "n03445777", "n03888257",
)  # fmt: skip
SEGMENTATION_FILE = "gtsegs_ijcv.mat"
_VAL_SAMPLES = 300  # of the 497 that training does not see; the rest is for images with masks
_GREY = 10  # every so many images one is
_SPREAD = 0.06  # deviation of a digit from the centre, as a share of the image's side


def write_miniature(
    root: Path,
    *,
    seed: int,
    train_images: int,
    val_images: int,
    segmented_images: int,
    smallest: int,
    largest: int,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Write `train/WNID/WNID_N.JPEG`, `val/WNID/ILSVRC2012_val_N.JPEG` and `gtsegs_ijcv.mat`.

    Args:
        root: an existing, empty folder.
        seed: the same seed gives the same bytes, with the same Pillow.
        train_images, val_images: number of images of each class.
        segmented_images: number of images with masks, of the classes in turn.
        smallest, largest: bounds of height and width in pixels.
        on_image: called after each image.
    """
    handwriting = divided_handwriting(seed)
    samples, digits = handwriting["val"]
    parts = {
        "train": (handwriting["train"], train_images, 1),
        "val": ((samples[:_VAL_SAMPLES], digits[:_VAL_SAMPLES]), val_images, 2),
    }
    for part, ((samples_of_part, digits_of_part), count, stream) in parts.items():
        for digit, wnid in enumerate(MINIATURE_WNIDS):
            (root / part / wnid).mkdir(parents=True)
            of_class = samples_of_part[digits_of_part == digit]
            for number in range(digit * count, (digit + 1) * count):
                canvas, _ = _scene(of_class, smallest, largest, np.random.default_rng([seed, stream, number]))
                name = f"{wnid}_{number}" if part == "train" else f"ILSVRC2012_val_{number + 1:08d}"
                picture = canvas.picture.convert("L") if number % _GREY == _GREY - 1 else canvas.picture
                picture.save(root / part / wnid / f"{name}.JPEG", quality=95)
                on_image()
    segmented = []
    for number in range(segmented_images):
        of_class = samples[_VAL_SAMPLES:][digits[_VAL_SAMPLES:] == number % len(MINIATURE_WNIDS)]
        canvas, mask = _scene(of_class, smallest, largest, np.random.default_rng([seed, 3, number]))
        segmented.append((np.asarray(canvas.picture), mask))
        on_image()
    _write_segmentation(root / SEGMENTATION_FILE, segmented)


def _scene(
    handwriting: np.ndarray, smallest: int, largest: int, random: np.random.Generator
) -> tuple[Canvas, np.ndarray]:
    """An image of one digit, and its strokes, uint8 [H, W] of 0 and 1."""
    height, width = (int(v) for v in random.integers(smallest, largest + 1, 2))
    canvas = Canvas(height, width, random)
    side = int(min(height, width) * random.uniform(0.45, 0.65))
    top, left = (
        int(np.clip((length - side) / 2 + length * random.normal(0, _SPREAD), 0, length - side))
        for length in (height, width)
    )
    sample = handwriting[random.integers(len(handwriting))]
    ink = canvas.write(sample, random.uniform(0.7, 1.0, 3), top, left, side)
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top : top + side, left : left + side] = ink > INK
    return canvas, mask


def _write_segmentation(path: Path, segmented: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The file that `attribution_preservation.data.segmentation` reads, as MATLAB 7.3 writes it."""
    # Imported here: the check of a profile, which knows all data sources, needs none of it.
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        values, cells = file.create_group("#refs#"), file.create_group("value")

        def stored(name: str, array: np.ndarray, kind: str) -> h5py.Reference:
            found = values.create_dataset(name, data=array)
            found.attrs["MATLAB_class"] = np.bytes_(kind)
            return found.ref

        def listed(folder: h5py.Group, name: str, references: list[h5py.Reference]) -> h5py.Reference:
            found = folder.create_dataset(name, (len(references), 1), dtype=h5py.ref_dtype)
            found[:, 0] = references
            found.attrs["MATLAB_class"] = np.bytes_("cell")
            return found.ref

        # MATLAB counts axes from the other end.
        images = [stored(f"img{k}", image.T, "uint8") for k, (image, _) in enumerate(segmented)]
        masks = [stored(f"gt{k}", mask.T, "uint8") for k, (_, mask) in enumerate(segmented)]
        listed(cells, "img", images)
        listed(cells, "gt", [listed(values, f"cell{k}", [mask]) for k, mask in enumerate(masks)])
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as stream:
        stream.write(header)
