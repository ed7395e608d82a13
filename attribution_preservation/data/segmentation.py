"""ImageNet images with a mask of one object each: the data set of Guillaumin, Kuettel and Ferrari in one MATLAB file.

A MATLAB 7.3 file is HDF5. `/value/img` and `/value/gt` are cell arrays of N references. A reference of `img` leads to
an image, uint8 [3, W, H] in MATLAB's order of axes. A reference of `gt` leads to a cell with one reference to the mask,
[W, H], 0 for background. The classes of these images are not among ImageNet-1k's classes, and are not read.

Source: Guillaumin, Kuettel, Ferrari, "ImageNet Auto-Annotation with Segmentation Propagation", IJCV 2014; 4,276
images, http://calvin-vision.net/datasets/imagenet-segmentation.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attribution_preservation.errors import UserError

if TYPE_CHECKING:
    import h5py

SEGMENTATION_URL = "http://calvin-vision.net/bigstuff/proj-imagenet/data/gtsegs_ijcv.mat"
MAXIMUM_PIXELS = 2**26  # limit for one image; the largest photograph of ImageNet has half as many
# Errors that HDF5 and its reader raise for damaged files and broken references.
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError)


def read_segmentation(
    path: Path, on_empty: Callable[[str], object] = lambda name: None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, image and mask of every image whose mask has an object.

    Images without an object cannot be scored and are left out. A name is `segmented_K`, where K is the image's number
    in the file, from 1.

    Args:
        path: the file.
        on_empty: called with the name of each image that is left out.

    Yields:
        The name; the image, uint8 RGB [H, W, 3] (grey images have three equal channels); and the mask, uint8 [H, W]:
        1 object, 0 background.

    Raises:
        UserError: the file is missing, truncated or not such a file; an image or a mask is missing; their sizes differ;
            a mask has a value that is not a finite number; or no mask has an object.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; check data.imagenet.segmentation")
    # Imported here because checking a profile imports all data sources and does not need h5py.
    import h5py

    try:
        file = h5py.File(path, "r")
    except _BROKEN as error:
        raise UserError(f"{path} is truncated or no MATLAB 7.3 file ({_short(error)}); fetch it again") from None
    with file:
        images, masks = _cells(file, path, "img"), _cells(file, path, "gt")
        if len(images) != len(masks):
            raise UserError(f"{path} holds {len(images)} images and {len(masks)} masks; fetch it again")
        objects = 0
        for number, (of_image, of_mask) in enumerate(zip(images, masks, strict=True), start=1):
            image, mask = _image(file, of_image), _mask(file, of_mask)
            if image is None or mask is None:
                what = "image" if image is None else "mask"
                raise UserError(f"{path}: number {number} has no {what} that can be read; fetch it again")
            if image.shape[:2] != mask.shape:
                sides = [f"{array.shape[1]} x {array.shape[0]}" for array in (mask, image)]
                raise UserError(f"{path}: mask {number} is {sides[0]} pixels, its image is {sides[1]}; fetch it again")
            if not np.isfinite(mask).all():
                raise UserError(f"{path}: mask {number} holds what is infinite or no number; fetch it again")
            name = f"segmented_{number}"
            if mask.any():
                objects += 1
                yield name, image, (mask != 0).astype(np.uint8)
            else:
                on_empty(name)
        if not objects:
            raise UserError(f"{path} holds no mask with an object, localisation cannot be scored; fetch it again")


def _cells(file: "h5py.File", path: Path, name: str) -> np.ndarray:
    """References of a cell array, [N]."""
    import h5py

    try:
        cells = file["value"][name]
        if h5py.check_ref_dtype(cells.dtype) is not h5py.Reference:
            raise TypeError("it holds no references")
        return cells[()].ravel()
    except _BROKEN as error:
        raise UserError(f"{path} has no list /value/{name} ({_short(error)}); fetch it again") from None


def _image(file: "h5py.File", reference: "h5py.Reference") -> np.ndarray | None:
    array = _array(file, reference)
    if array is None or array.dtype != np.uint8 or array.ndim not in (2, 3):
        return None
    if array.ndim == 2:
        return np.repeat(array.T[:, :, None], 3, axis=2)
    return array.transpose(2, 1, 0) if len(array) == 3 else None


def _mask(file: "h5py.File", reference: "h5py.Reference") -> np.ndarray | None:
    cell = _array(file, reference)
    array = None if cell is None else _array(file, cell.ravel()[0])
    return array.T if array is not None and array.ndim == 2 and array.dtype.kind in "buif" else None


def _array(file: "h5py.File", reference: "h5py.Reference") -> np.ndarray | None:
    """The array at a reference; None if the reference is broken, or the array is empty or too large."""
    try:
        dataset = file[reference]
        if not 0 < dataset.size <= 3 * MAXIMUM_PIXELS:
            return None
        return dataset[()]
    except _BROKEN:
        return None


def _short(error: Exception) -> str:
    return str(error).strip("'\"")  # a KeyError adds quotes
