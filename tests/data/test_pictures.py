"""Pictures of every kind that a camera, a scanner or a drawing program writes: eight bits a channel, or refused."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from attribution_preservation.data.pictures import LONGEST_SIDE, decode, rgb
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory
from attribution_preservation.errors import UserError
from tests.conftest import make_imagenet
from tests.data.test_imagenet import FIRST, packed


def png(depth, colour_type, width, line, *chunks):
    """A PNG of one line, by hand."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0))
    body = b"".join(chunk(kind, content) for kind, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IDAT", zlib.compress(b"\0" + line)) + chunk(b"IEND", b"")


def words(*values):
    return struct.pack(f">{len(values)}H", *values)


GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
COLOURS = (b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
# By PNG's definition a sample of n bits means its share of 2^n - 1. 257 k of 16 bits is k of 8.
SCALED = {
    "16 bits of grey": (png(16, GREY, 3, words(0, 257 * 100, 65_535)), [[0] * 3, [100] * 3, [255] * 3]),
    "16 bits of grey and alpha": (png(16, GREY_ALPHA, 2, words(257 * 100, 65_535, 257, 0)), [[100] * 3, [1] * 3]),
    "16 bits of colour": (png(16, COLOUR, 1, words(257 * 200, 257, 65_535)), [[200, 1, 255]]),
    "16 bits of colour and alpha": (png(16, COLOUR_ALPHA, 1, words(257 * 200, 257, 65_535, 0)), [[200, 1, 255]]),
    "16 bits of grey, one of them transparent": (
        png(16, GREY, 2, words(257 * 100, 0), (b"tRNS", words(257 * 100))), [[100] * 3, [0] * 3],
    ),
    "1 bit": (png(1, GREY, 2, b"\x80"), [[255] * 3, [0] * 3]),
    "2 bits": (png(2, GREY, 2, b"\x60"), [[85] * 3, [170] * 3]),
    "4 bits": (png(4, GREY, 2, b"\x1f"), [[17] * 3, [255] * 3]),
    "8 bits of grey and alpha": (png(8, GREY_ALPHA, 2, bytes([100, 0, 7, 255])), [[100] * 3, [7] * 3]),
    "8 bits of colour and alpha": (png(8, COLOUR_ALPHA, 1, bytes([9, 8, 7, 0])), [[9, 8, 7]]),
    "a palette": (png(8, PALETTE, 2, b"\0\1", COLOURS), [[10, 20, 30], [200, 100, 50]]),
    "a palette of 4 bits": (png(4, PALETTE, 2, b"\x10", COLOURS), [[200, 100, 50], [10, 20, 30]]),
    "a palette with one transparent colour": (
        png(8, PALETTE, 2, b"\0\1", COLOURS, (b"tRNS", b"\0")), [[10, 20, 30], [200, 100, 50]],
    ),
    "a palette with half transparent colours": (
        png(8, PALETTE, 2, b"\0\1", COLOURS, (b"tRNS", b"\0\x80")), [[10, 20, 30], [200, 100, 50]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SCALED)
def test_a_sample_means_the_same_share_of_white_at_every_depth(tmp_path, what):
    content, expected = SCALED[what]
    root = make_imagenet(tmp_path / "imagenet")
    (root / FIRST).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert packed(root, tmp_path / "store").image(0).tolist() == [expected]


def test_grey_of_16_bits_keeps_its_order_and_is_what_equal_colours_of_16_bits_are():
    levels = np.arange(0, 65_536, 13)
    picture = Image.fromarray(levels[None].astype(np.uint16))
    assert picture.mode == "I;16"
    grey = rgb(picture, "grey")[0]
    assert (np.abs(grey - levels[:, None] / 257) <= 1).all()
    colour = png(16, COLOUR, len(levels), words(*levels.repeat(3)))
    assert np.array_equal(grey, rgb(decode(io.BytesIO(colour), "colour", ("PNG",)), "colour")[0])


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_of_unknown_range_are_refused(mode):
    with pytest.raises(UserError, match=rf"a\.tif has pixels of mode {mode}, of unknown range"):
        rgb(Image.new(mode, (2, 2), 300), "a.tif")


def jpeg(picture, **settings):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95, **settings)
    return stream.getvalue()


def ycck():
    """Inks as luminance and chrominance: stored are Y 200, Cb and Cr 128, and no black, inverted as Adobe has them.

    So the light is 255 - 200 of every colour.
    """
    content = jpeg(Image.new("CMYK", (16, 16), (55, 127, 127, 0)))
    marker = content.index(b"Adobe")
    return content[: marker + 11] + b"\x02" + content[marker + 12 :]


INKS = {
    "no ink is white": (jpeg(Image.new("CMYK", (16, 16), (0, 0, 0, 0))), (255, 255, 255)),
    "cyan swallows red": (jpeg(Image.new("CMYK", (16, 16), (255, 0, 0, 0))), (0, 255, 255)),
    "black swallows everything": (jpeg(Image.new("CMYK", (16, 16), (0, 0, 0, 255))), (0, 0, 0)),
    "inks as luminance": (ycck(), (55, 55, 55)),
}


@pytest.mark.parametrize("what", INKS)
def test_inks_become_light(tmp_path, what):
    content, light = INKS[what]
    root = make_imagenet(tmp_path / "imagenet")
    (root / FIRST).write_bytes(content)
    of_imagenet = packed(root, tmp_path / "store").image(0)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(content)
    of_voc = VOCDirectory(tmp_path, VOC_CLASSES).image("a")
    for image in (of_imagenet, of_voc):
        assert np.abs(image.astype(int) - light).max() <= 2  # JPEG is lossy


def test_a_jpeg_of_12_bits_is_refused(tmp_path):
    content = bytearray(jpeg(Image.new("L", (16, 16), 99)))
    content[content.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UserError, match="is not readable as a JPEG picture"):
        decode(io.BytesIO(content), "a", ("JPEG",))


def test_the_first_picture_of_a_phones_file_counts(tmp_path):
    # MPO: a JPEG with a second one behind it, a depth map or the other eye's.
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    alone, stream = jpeg(Image.fromarray(pixels)), io.BytesIO()
    Image.fromarray(pixels).save(
        stream, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (40, 30), (200, 0, 0))]
    )
    content = stream.getvalue()
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.n_frames) == ("MPO", 2)
    expected = np.array(Image.open(io.BytesIO(alone)))
    root = make_imagenet(tmp_path / "imagenet")
    (root / FIRST).write_bytes(content)
    assert np.array_equal(packed(root, tmp_path / "store").image(0), expected)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(content)
    assert np.array_equal(VOCDirectory(tmp_path, VOC_CLASSES).image("a"), expected)


@pytest.mark.parametrize("size", [(LONGEST_SIDE + 1, 1), (1, LONGEST_SIDE + 1), (100_000_000, 1)])
def test_a_picture_that_is_longer_than_any_jpeg_is_refused_before_it_is_decoded(size):
    header = struct.pack(">IIBBBBB", *size, 8, COLOUR, 0, 0, 0)
    whole = png(8, COLOUR, 1, bytes(3))
    content = whole[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + whole[33:]
    with pytest.raises(UserError, match=rf"a side of {max(size)} pixels is longer than {LONGEST_SIDE}"):
        decode(io.BytesIO(content), "a", ("PNG",))


MASKS = {
    "grey of 1 bit": (png(1, GREY, 4, b"\x80"), "mode is 1"),
    # Read as grey levels, a sheep (17) would stand for the index 1.
    "grey of 2 bits": (png(2, GREY, 4, b"\x10"), "mode is L with 2 bits"),
    "grey of 4 bits": (png(4, GREY, 4, b"\x10\x00"), "mode is L with 4 bits"),
    "grey of 16 bits": (png(16, GREY, 4, words(1, 2, 0, 0)), "mode is I;16"),
    "grey and alpha": (png(8, GREY_ALPHA, 2, bytes([1, 255, 0, 255])), "mode is LA"),
    "colours": (png(8, COLOUR, 1, bytes(3)), "mode is RGB"),
    "colours and alpha": (png(8, COLOUR_ALPHA, 1, bytes(4)), "mode is RGBA"),
}


def voc_with_mask(root, content):
    (root / "SegmentationClass").mkdir()
    (root / "SegmentationClass" / "a.png").write_bytes(content)
    return VOCDirectory(root, VOC_CLASSES)


@pytest.mark.parametrize("what", MASKS)
def test_a_mask_that_does_not_hold_indices_is_refused(tmp_path, what):
    content, message = MASKS[what]
    with pytest.raises(UserError, match=rf"a\.png: a mask holds one class index per pixel, this picture's {message}$"):
        voc_with_mask(tmp_path, content).mask("a")


@pytest.mark.parametrize(
    "content",
    [
        png(8, GREY, 2, b"\0\1"),
        png(8, PALETTE, 2, b"\0\1", COLOURS),
        png(4, PALETTE, 2, b"\x01", COLOURS),
        png(1, PALETTE, 2, b"\x40", COLOURS),
        png(8, PALETTE, 2, b"\0\1", COLOURS, (b"tRNS", b"\0\x80")),
    ],
    ids=["grey", "palette", "palette of 4 bits", "palette of 1 bit", "palette with transparency"],
)
def test_indices_of_a_mask_are_what_is_stored(tmp_path, content):
    assert voc_with_mask(tmp_path, content).mask("a").tolist() == [[0, 1]]
