"""The segmentation set's MATLAB file, written by hand; and every way in which it can be wrong."""

import struct

import h5py
import numpy as np
import pytest

from attribution_preservation.data import segmentation
from attribution_preservation.data.segmentation import read_segmentation
from attribution_preservation.errors import UserError
from tests.conftest import segmented, write_segmentation


@pytest.fixture
def path(tmp_path):
    write_segmentation(tmp_path / "gtsegs_ijcv.mat", *segmented())
    return tmp_path / "gtsegs_ijcv.mat"


def test_images_and_masks_come_back_as_they_are_seen(path):
    images, masks = segmented()
    triples = list(read_segmentation(path))
    assert [name for name, _, _ in triples] == ["segmented_1", "segmented_2"]
    for (_, image, mask), expected, of_mask in zip(triples, images, masks, strict=True):
        assert image.dtype == mask.dtype == np.uint8
        assert np.array_equal(image, expected)
        assert np.array_equal(mask, of_mask)


def test_the_file_lies_as_others_read_it(path):
    # Chefer, Gur, Wolf: Transformer interpretability beyond attention visualization, CVPR 2021, reads it so.
    with h5py.File(path) as file:
        image = np.array(file[file["/value/img"][1, 0]]).transpose((2, 1, 0))
        mask = np.array(file[file[file["/value/gt"][1, 0]][0, 0]]).transpose((1, 0))
    assert np.array_equal(image, segmented()[0][1])
    assert np.array_equal(mask, segmented()[1][1])


@pytest.mark.parametrize("kind", [np.uint8, np.bool_, np.float64, np.int16])
def test_whatever_is_not_zero_is_object(path, kind):
    images, masks = segmented()
    write_segmentation(path, images, [(mask * 255).astype(kind) for mask in masks])
    for (_, _, mask), expected in zip(read_segmentation(path), masks, strict=True):
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, expected)


def test_a_grey_image_has_three_equal_channels(path):
    images, masks = segmented()
    write_segmentation(path, [images[0][:, :, 0], images[1]], masks)
    _, image, _ = next(read_segmentation(path))
    assert image.shape == images[0].shape
    assert (image == images[0][:, :, :1]).all()


def test_an_image_without_an_object_is_left_out_and_told(path):
    images, masks = segmented()
    write_segmentation(path, images, [np.zeros_like(masks[0]), masks[1]])
    left_out = []
    assert [name for name, _, _ in read_segmentation(path, left_out.append)] == ["segmented_2"]
    assert left_out == ["segmented_1"]


def test_a_file_without_any_object_is_refused(path):
    images, masks = segmented()
    write_segmentation(path, images, [np.zeros_like(mask) for mask in masks])
    with pytest.raises(UserError, match="holds no mask with an object, localisation cannot be scored"):
        list(read_segmentation(path))


def edited(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def null(file, name):
    file[f"value/{name}"][1, 0] = h5py.Reference()


def replaced(name, array):
    def edit(file):
        del file[name]
        dataset = file.create_dataset(name, data=array)
        cells, position = ("#refs#/cell1", (0, 0)) if name.startswith("#refs#/gt") else ("value/img", (1, 0))
        file[cells][position] = dataset.ref

    return edit


def shorter(file):
    del file["value/gt"]
    file.create_dataset("value/gt", data=[[file["#refs#/cell0"].ref]], dtype=h5py.ref_dtype)


WRONG = {
    "an image that refers to nothing": (lambda file: null(file, "img"), "number 2 has no image that can be read"),
    "a mask that refers to nothing": (lambda file: null(file, "gt"), "number 2 has no mask that can be read"),
    "a mask's cell that refers to nothing": (
        lambda file: file["#refs#/cell1"].write_direct(np.array([[h5py.Reference()]], dtype=h5py.ref_dtype)),
        "number 2 has no mask that can be read",
    ),
    "a mask less": (shorter, "holds 2 images and 1 masks"),
    "another size": (
        replaced("#refs#/gt1", np.ones((5, 8), np.uint8)),
        "mask 2 is 5 x 8 pixels, its image is 5 x 9",
    ),
    "a mask of NaN": (replaced("#refs#/gt1", np.full((5, 9), np.nan)), "mask 2 holds what is infinite or no number"),
    "a mask of words": (replaced("#refs#/gt1", [[b"a"] * 9] * 5), "number 2 has no mask that can be read"),
    "a mask of three axes": (replaced("#refs#/gt1", np.ones((5, 9, 2))), "number 2 has no mask that can be read"),
    "an image of numbers": (replaced("#refs#/img1", np.ones((3, 5, 9))), "number 2 has no image that can be read"),
    "an image of four channels": (
        replaced("#refs#/img1", np.ones((4, 5, 9), np.uint8)),
        "number 2 has no image that can be read",
    ),
    "an image of no pixels": (
        replaced("#refs#/img1", np.ones((3, 0, 9), np.uint8)),
        "number 2 has no image that can be read",
    ),
    "no images": (lambda file: file["value"].pop("img"), "has no list /value/img"),
    "no masks": (lambda file: file["value"].pop("gt"), "has no list /value/gt"),
    "no values": (lambda file: file.pop("value"), "has no list /value/img"),
    "a list of numbers": (
        lambda file: (file["value"].pop("img"), file.create_dataset("value/img", data=np.ones((2, 1)))),
        r"has no list /value/img \(it holds no references\)",
    ),
    "a folder for a list": (
        lambda file: (file["value"].pop("img"), file.create_group("value/img")),
        "has no list /value/img",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_is_wrong_is_named(path, what):
    edit, message = WRONG[what]
    edited(path, edit)
    with pytest.raises(UserError, match=rf"gtsegs_ijcv\.mat:? {message}.*; fetch it again"):
        list(read_segmentation(path))


@pytest.mark.parametrize("address", [7, 10**6, 2**63])
def test_a_reference_that_leads_nowhere_is_named(path, address):
    with h5py.File(path) as file:
        offset = file["value/img"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 8 : offset + 16] = struct.pack("<Q", address)  # the second of them
    path.write_bytes(content)
    with pytest.raises(UserError, match="number 2 has no image that can be read"):
        list(read_segmentation(path))


def test_an_image_that_no_photograph_can_be_is_not_read(path, monkeypatch):
    monkeypatch.setattr(segmentation, "MAXIMUM_PIXELS", 44)
    with pytest.raises(UserError, match="number 1 has no image that can be read"):
        list(read_segmentation(path))


@pytest.mark.parametrize(
    "spoil", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"rubbish" * 200, lambda c: c[:-1]]
)
def test_a_truncated_or_another_file_is_named(path, spoil):
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=r"gtsegs_ijcv\.mat is truncated or no MATLAB 7\.3 file"):
        list(read_segmentation(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.mat is missing; check data\.imagenet\.segmentation"):
        list(read_segmentation(tmp_path / "no.mat"))
    with pytest.raises(UserError, match="is missing; check"):
        list(read_segmentation(tmp_path))
