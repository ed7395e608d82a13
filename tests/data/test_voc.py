"""The VOC layout as its files define it, and every way in which they can be wrong."""

import numpy as np
import pytest
from PIL import Image

from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory, find_voc_root
from attribution_preservation.errors import UserError
from tests.conftest import write_splits, write_voc_image


def packed(voc, folder):
    folder.mkdir()
    pack(voc, folder)
    return Store(folder)


def test_the_class_indices_are_those_of_the_challenge():
    assert len(VOC_CLASSES) == 20
    assert (VOC_CLASSES[0], VOC_CLASSES[14], VOC_CLASSES[19]) == ("aeroplane", "person", "tvmonitor")


def test_store_returns_the_decoded_files(voc, tmp_path):
    store = packed(voc, tmp_path / "store")
    assert [(r.name, r.part, r.height, r.width) for r in store.records] == [
        ("a", "train", 12, 20), ("b", "train", 16, 10), ("c", "val", 12, 20), ("d", "val", 16, 10),
    ]  # fmt: skip
    for position, name in enumerate("abcd"):
        with Image.open(voc.root / "JPEGImages" / f"{name}.jpg") as picture:
            assert np.array_equal(store.image(position), np.array(picture))
    with Image.open(voc.root / "SegmentationClass" / "d.png") as picture:
        assert np.array_equal(store.mask(3), np.array(picture))
    assert store.mask(0) is None  # training masks are not needed


def test_labels_come_from_the_annotation_once_per_class(voc, tmp_path):
    store = packed(voc, tmp_path / "store")
    person, dog = VOC_CLASSES.index("person"), VOC_CLASSES.index("dog")
    labels = store.labels([0, 1, 2])
    assert [np.flatnonzero(row).tolist() for row in labels] == [[person], [dog], [dog, person]]


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_is_found_from_above(voc, below):
    assert find_voc_root(voc.root.parents[1] / below if below != "VOCdevkit" else voc.root.parent) == voc.root


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"JPEGImages.*data\.root"):
        find_voc_root(tmp_path)


def test_a_difficult_object_counts(voc):
    path = voc.root / "Annotations" / "a.xml"
    path.write_text(
        "<annotation><object><name>cat</name><difficult>1</difficult></object></annotation>", encoding="utf-8"
    )
    assert voc.labels("a") == [VOC_CLASSES.index("cat")]


def test_an_unknown_class_is_named_with_its_file(voc):
    write_voc_image(voc.root, "a", ["unicorn"], np.zeros((4, 4)))
    with pytest.raises(UserError, match=r"a\.xml: unknown class 'unicorn'"):
        voc.labels("a")


@pytest.mark.parametrize("text", ["<annotation", "", "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"])
def test_broken_or_hostile_xml_is_named(voc, text):
    (voc.root / "Annotations" / "a.xml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.xml is not readable as XML"):
        voc.labels("a")


def test_an_annotation_without_objects_is_refused(voc):
    (voc.root / "Annotations" / "a.xml").write_text("<annotation/>", encoding="utf-8")
    with pytest.raises(UserError, match="names no object"):
        voc.labels("a")


def test_a_mask_of_another_size_is_refused(voc, tmp_path):
    write_voc_image(voc.root, "c", ["dog"], np.zeros((5, 7)), size=(6, 7))
    with pytest.raises(UserError, match=r"c\.png is 7 x 5 pixels, its image is 7 x 6"):
        packed(voc, tmp_path / "store")


def test_a_mask_value_that_is_no_class_is_refused(voc):
    write_voc_image(voc.root, "c", ["dog"], np.full((4, 4), 21))
    with pytest.raises(UserError, match=r"c\.png: 21 is no class index \(0 to 20, or 255 for void\)"):
        voc.mask("c")


def test_a_colour_picture_is_no_mask(voc):
    Image.new("RGB", (4, 4)).save(voc.root / "SegmentationClass" / "c.png")
    with pytest.raises(UserError, match="mode is RGB"):
        voc.mask("c")


def test_a_truncated_picture_is_named(voc):
    path = voc.root / "JPEGImages" / "a.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"a\.jpg is not readable as a JPEG picture"):
        voc.image("a")


def test_a_missing_picture_is_named(voc):
    (voc.root / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"a\.jpg is missing"):
        voc.image("a")


def test_an_empty_split_is_refused(voc):
    write_splits(voc.root, [], ["c"])
    with pytest.raises(UserError, match=r"train\.txt is empty"):
        voc.split("Main", "train")


def test_a_name_that_leaves_the_folder_is_refused(voc):
    write_splits(voc.root, ["../../etc/passwd"], ["c"])
    with pytest.raises(UserError, match="no plain image name"):
        voc.split("Main", "train")


def test_grey_pictures_become_three_channels(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    Image.new("L", (5, 4), 77).save(tmp_path / "JPEGImages" / "g.jpg")
    image = VOCDirectory(tmp_path, VOC_CLASSES).image("g")
    assert image.shape == (4, 5, 3)
    assert (image == 77).all()
