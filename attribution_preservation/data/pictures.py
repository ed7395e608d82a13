"""Pictures from elsewhere, decoded without trust."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from attribution_preservation.errors import UserError


def decode(source: Path | BinaryIO, name: Path | str, forms: tuple[str, ...]) -> Image.Image:
    """A decoded picture.

    Args:
        source: the file, or what was read of it.
        name: by which messages call it.
        forms: the formats that it may have, as Pillow names them: what else calls itself a picture is refused.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is truncated or no picture of these formats.
    """
    try:
        with warnings.catch_warnings():
            # Some photographs of ImageNet have broken EXIF data, of which nothing is used.
            warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)
            picture = Image.open(source, formats=forms)
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
