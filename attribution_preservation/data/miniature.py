"""Generated miniature of ImageNet with handwritten digits: image folders and the file with masks.

Each image shows one digit on a textured, cluttered background. The digit is near the centre, like the objects in most
images of ImageNet. Sizes and aspect ratios differ, and some images are grey. Handwriting samples are split first, so no
sample is in two of the parts training, validation and images with masks.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from attribution_preservation.data.scenes import INK, Canvas, divided_handwriting

# Each digit has one of Imagenette's ten classes, which are classes of ImageNet-1k.
MINIATURE_WNIDS = (
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
    "n03394916", "n03417042", "n03425413", "n03445777", "n03888257",
)  # fmt: skip
SEGMENTATION_FILE = "gtsegs_ijcv.mat"
_VAL_SAMPLES = 300  # of the 497 that training does not see; the rest is for images with masks
_GREY = 10  # one in so many images is grey
_SPREAD = 0.06  # standard deviation of a digit's offset from the centre, as a share of the image's side


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
        seed: equal seeds give equal bytes, with the same version of Pillow.
        train_images, val_images: number of images of each class.
        segmented_images: number of images with masks; the classes take turns.
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
    """An image of one digit, and the mask of its strokes, uint8 [H, W] of 0 and 1."""
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
    """Write the file that `attribution_preservation.data.segmentation` reads, in the format of MATLAB 7.3."""
    # Imported here because checking a profile imports all data sources and does not need h5py.
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        values, cells = file.create_group("#refs#"), file.create_group("value")

        def stored(name: str, array: np.ndarray, kind: str) -> h5py.Reference:
            dataset = values.create_dataset(name, data=array)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            return dataset.ref

        def listed(folder: h5py.Group, name: str, references: list[h5py.Reference]) -> h5py.Reference:
            dataset = folder.create_dataset(name, (len(references), 1), dtype=h5py.ref_dtype)
            dataset[:, 0] = references
            dataset.attrs["MATLAB_class"] = np.bytes_("cell")
            return dataset.ref

        # MATLAB's axes are in reverse order.
        images = [stored(f"img{k}", image.T, "uint8") for k, (image, _) in enumerate(segmented)]
        masks = [stored(f"gt{k}", mask.T, "uint8") for k, (_, mask) in enumerate(segmented)]
        listed(cells, "img", images)
        listed(cells, "gt", [listed(values, f"cell{k}", [mask]) for k, mask in enumerate(masks)])
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as stream:
        stream.write(header)
