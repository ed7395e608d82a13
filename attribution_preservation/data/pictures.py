"""Pictures from elsewhere, decoded without trust."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from attribution_preservation.errors import UserError

# Modes of 8 bits a channel or fewer, which Pillow turns into RGB without loss; it would clip all others.
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
LONGEST_SIDE = 65_535  # pixels: as many as a JPEG can have, and fewer than Pillow's own arithmetic can bear
_DEPTH_AT = 24  # the byte of a PNG that holds the bits of a channel


def decode(source: Path | BinaryIO, name: Path | str, forms: tuple[str, ...]) -> Image.Image:
    """A decoded picture.

    Args:
        source: the file, or what was read of it.
        name: by which messages call it.
        forms: the formats that it may have, as Pillow names them: what else calls itself a picture is refused.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is truncated, no picture of these formats, or larger than any photograph.
    """
    try:
        with warnings.catch_warnings():
            # Some photographs of ImageNet have broken EXIF data, of which nothing is used.
            warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)
            # Below the size that Pillow refuses, memory suffices.
            warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
            picture = Image.open(source, formats=forms)
        if max(picture.size) > LONGEST_SIDE:
            raise ValueError(f"a side of {max(picture.size)} pixels is longer than {LONGEST_SIDE}")
        picture.load()
    except FileNotFoundError:
        raise
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
        IndexError,
        EOFError,
        OverflowError,
        TypeError,
        struct.error,
        zlib.error,
    ) as error:  # what decoders raise of bytes that are not what they claim to be
        # A stream's address in memory tells nobody anything.
        told = "no such picture" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{name} is not readable as a {' or '.join(forms)} picture: {told}; restore the file") from None
    return picture


def rgb(picture: Image.Image, name: Path | str) -> np.ndarray:
    """A picture's pixels, uint8 [H, W, 3].

    Grey levels of 16 bits are scaled to 8 bits as Pillow scales colours of 16 bits: the high byte counts. Transparency
    is ignored, as by torchvision's ImageFolder.

    Args:
        picture: the decoded picture.
        name: by which messages call it.

    Raises:
        UserError: its pixels are of a kind that has no range, such as 32-bit numbers.
    """
    if picture.mode.startswith("I;16"):
        return np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode not in _EIGHT_BITS:
        raise UserError(f"{name} has pixels of mode {picture.mode}, of unknown range; save it with 8 bits a channel")
    picture.info.pop("transparency", None)  # Pillow would warn that it is lost
    return np.array(picture.convert("RGB"))


def png_depth(path: Path) -> int:
    """Bits of each channel of a PNG that can be decoded."""
    with path.open("rb") as stream:
        return stream.read(_DEPTH_AT + 1)[_DEPTH_AT]
