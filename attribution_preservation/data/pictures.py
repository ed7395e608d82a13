"""Safe decoding of pictures from untrusted files."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from attribution_preservation.errors import UserError

# Modes with at most 8 bits per channel, which Pillow converts to RGB without loss. It would clip other modes.
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
LONGEST_SIDE = 65_535  # pixels; the limit of JPEG, and safe for Pillow's integer arithmetic
_DEPTH_AT = 24  # offset of the byte in a PNG that gives the bits per channel


def decode(source: Path | BinaryIO, name: Path | str, forms: tuple[str, ...]) -> Image.Image:
    """Decode a picture.

    Args:
        source: the file, or a stream of its bytes.
        name: name of the picture in messages.
        forms: the accepted formats, by Pillow's names; all other formats are refused.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: it is truncated, not a picture of these formats, or larger than any photograph.
    """
    try:
        with warnings.catch_warnings():
            # Some photographs of ImageNet have broken EXIF data, which is not used.
            warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)
            # Pictures below the size that Pillow refuses fit into memory.
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
    ) as error:  # errors that decoders raise for damaged files
        # Pillow's message names a stream by its address in memory, which helps nobody.
        reason = "no such picture" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(
            f"{name} is not readable as a {' or '.join(forms)} picture: {reason}; restore the file"
        ) from None
    return picture


def rgb(picture: Image.Image, name: Path | str) -> np.ndarray:
    """A picture's pixels, uint8 [H, W, 3].

    Grey levels of 16 bits keep only the high byte, like colours of 16 bits in Pillow. Transparency is ignored, as in
    torchvision's ImageFolder.

    Args:
        picture: the decoded picture.
        name: name of the picture in messages.

    Raises:
        UserError: its pixels have a type of unknown range, such as 32-bit numbers.
    """
    if picture.mode.startswith("I;16"):
        return np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode not in _EIGHT_BITS:
        raise UserError(f"{name} has pixels of mode {picture.mode}, of unknown range; save it with 8 bits a channel")
    picture.info.pop("transparency", None)  # Pillow would warn that it is lost
    return np.array(picture.convert("RGB"))


def png_depth(path: Path) -> int:
    """Bits per channel of a valid PNG."""
    with path.open("rb") as stream:
        return stream.read(_DEPTH_AT + 1)[_DEPTH_AT]
