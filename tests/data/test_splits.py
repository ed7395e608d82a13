"""The lists of a VOC folder: one name per line, and no image both for training and for evaluation."""

import pytest

from attribution_preservation.data.splits import read_names
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.errors import UserError
from tests.conftest import write_splits


def lists(root, **names):
    """Lists by folder and part, such as `Main_train`; the others stay as they are."""
    for where, content in names.items():
        kind, part = where.split("_")
        (root / "ImageSets" / kind / f"{part}.txt").write_text("".join(f"{name}\n" for name in content))


def packed(voc, folder):
    folder.mkdir()
    notes = []
    pack(voc, folder, on_note=notes.append)
    return Store(folder), notes


# The fixture's images: a and b are for training, c and d for evaluation.
OVERLAPS = {
    "a masked image is a training image": ({"Segmentation_val": "cb"}, r"Segmentation/val\.txt names 1 .* \(b\)"),
    "all masked images are training images": ({"Segmentation_val": "ab"}, r"Segmentation/val\.txt names 2 .*\(a, b\)"),
    "an evaluation image is a training image": ({"Main_val": "cda"}, r"Main/val\.txt names 1 training image .*\(a\)"),
    "Main/val is Main/train": ({"Main_val": "ab"}, r"Main/val\.txt names 2 .* of Main/train\.txt \(a, b\)"),
    "Main/val holds all of Main/train": ({"Main_val": "abcd"}, r"Main/val\.txt names 2 training images"),
    "Main/train is everything": ({"Main_train": "abcd"}, r"Main/val\.txt names 2 training images .* \(c, d\)"),
    "Segmentation/val is Segmentation/train": (
        {"Segmentation_train": "cd"},
        r"Segmentation/val\.txt names 2 training images of Segmentation/train\.txt \(c, d\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OVERLAPS)
def test_an_image_that_is_for_training_and_for_evaluation_is_named_before_anything_is_decoded(voc, tmp_path, what):
    names, message = OVERLAPS[what]
    lists(voc.root, **names)
    for picture in voc.root.glob("JPEGImages/*"):
        picture.write_bytes(b"")
    with pytest.raises(UserError, match=f"{message}.*take it out of one list"):
        packed(voc, tmp_path / "store")


def test_of_many_such_images_three_are_named_and_all_counted(voc):
    names = [f"image{k}" for k in range(50)]
    write_splits(voc.root, names, names[7:])
    with pytest.raises(UserError, match=r"names 43 training images .* \(image7, image8, image9 \(and 40 more\)\)"):
        pack(voc, voc.root)


def test_a_masked_image_that_main_does_not_list_is_evaluated_and_counted(voc, tmp_path):
    # As in VOC 2012, where Segmentation/val has images of 2007 and Main has none.
    lists(voc.root, Main_val="c", Segmentation_val="cd")
    store, notes = packed(voc, tmp_path / "store")
    assert [(record.name, record.part) for record in store.records] == [
        ("a", "train"), ("b", "train"), ("c", "val"), ("d", "val"),
    ]  # fmt: skip
    assert store.mask(3) is not None
    assert notes == ["Evaluation includes 1 image that only Segmentation/val lists"]
    assert store.notes == ()  # VOC's own lists are nothing to warn of


def test_an_evaluation_image_needs_no_mask_and_a_mask_no_place_in_segmentation_train(voc, tmp_path):
    (voc.root / "ImageSets" / "Segmentation" / "train.txt").unlink()
    lists(voc.root, Segmentation_val="d")
    store, notes = packed(voc, tmp_path / "store")
    assert [store.mask(position) is None for position in store.part("val")] == [True, False]
    assert notes == []


@pytest.mark.parametrize("where", ["Main_train", "Main_val", "Segmentation_val"])
def test_a_list_without_names_is_refused(voc, tmp_path, where):
    lists(voc.root, **{where: ["", "  "]})
    with pytest.raises(UserError, match=rf"{where.replace('_', '/')}\.txt is empty"):
        packed(voc, tmp_path / "store")


def test_a_name_that_is_there_twice_is_named_with_its_lines(voc, tmp_path):
    lists(voc.root, Main_val="cdc")
    with pytest.raises(UserError, match=r"Main/val\.txt repeats 1 name \(c in lines 1 and 3\); name each image once"):
        packed(voc, tmp_path / "store")


READ = {
    "line ends of Windows": b"a\r\nb\r\n",
    "line ends of an old Mac": b"a\rb\r",
    "no line end at the end": b"a\nb",
    "blank lines": b"\n\na\n \n\nb\n\n",
    "blanks and tabs around names": b"a  \n\tb \t\n",
    "a byte order mark": b"\xef\xbb\xbfa\nb\n",
}


@pytest.mark.parametrize("what", READ)
def test_what_editors_do_to_lists_changes_no_name(tmp_path, what):
    (tmp_path / "train.txt").write_bytes(READ[what])
    assert read_names(tmp_path / "train.txt") == ["a", "b"]


@pytest.mark.parametrize("name", ["2008_000002", "IMG-20.b", "_", "schlüssel", "-1"])
def test_a_plain_name_stays_as_it_is(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"a\n{name}\n", encoding="utf-8")
    assert read_names(tmp_path / "train.txt") == ["a", name]


# The second line of a list, and what is said of it.
REFUSED = {
    "b -1": "'b -1' is from a list of one class",
    "b  1": "'b  1' is from a list of one class",
    "b\t0": r"'b\\t0' is from a list of one class",
    "my photo": "'my photo' is more than one word",
    "b c d": "'b c d' is more than one word",
    "# comment": "'# comment' is more than one word",
    "/JPEGImages/b.jpg /Masks/b.png": "is more than one word",
    "b\u2028c": r"'b\\u2028c' is more than one word",
    "b.jpg": r"'b\.jpg' has the ending of a file",
    "b.JPEG": r"'b\.JPEG' has the ending of a file",
    "/etc/passwd": "'/etc/passwd' is no plain image name",
    "../b": r"'\.\./b' is no plain image name",
    "..": r"'\.\.' is no plain image name",
    "..\\b": "is no plain image name",
    "C:\\b": "is no plain image name",
    "b\x00": r"'b\\x00' is no plain image name",
    "b\x1b[2J": "is no plain image name",
    "b" * 300 + "/": r"b{60}\.\.\.' is no plain image name",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_is_no_name_is_named_with_its_number(tmp_path, line):
    (tmp_path / "val.txt").write_text(f"a\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"val\.txt, line 2: .*{REFUSED[line]}"):
        read_names(tmp_path / "val.txt")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_list_in_another_encoding_is_refused(tmp_path, encoding):
    (tmp_path / "val.txt").write_bytes("schlüssel\nb\n".encode(encoding))
    with pytest.raises(UserError, match=r"val\.txt(, line 1: .* is no plain image name| is not readable as text)"):
        read_names(tmp_path / "val.txt")
