"""A store beside images that stay where they are: what it shows of them, and what it makes of changes."""

import json
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.errors import UserError
from tests.conftest import WNIDS, make_imagenet, pack_validation, segmented
from tests.data.test_imagenet import ARCHIVE, FIRST, STRANGE, packed, size


@pytest.fixture
def root(tmp_path):
    return make_imagenet(tmp_path / "imagenet")


def test_images_for_training_come_first_and_those_with_masks_last(root, tmp_path):
    store = packed(root, tmp_path / "store")
    assert (list(store.part("train")), list(store.part("val"))) == ([*range(6)], [*range(6, 11)])
    assert store.exclusive
    assert len(store.classes) == 1000
    labels = store.labels(range(11))
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 217, 217, 701, 701, 0, 217, 701, -1, -1]
    for position, image, mask in zip((9, 10), *segmented(), strict=True):
        assert np.array_equal(store.image(position), image)
        assert np.array_equal(store.mask(position), mask)
    assert [store.mask(position) for position in range(9)] == [None] * 9


def test_a_packed_store_has_classes_beside_each_other(voc, tmp_path):
    (tmp_path / "store").mkdir()
    pack(voc, tmp_path / "store")
    assert not Store(tmp_path / "store").exclusive
    assert set(json.loads((tmp_path / "store" / "index.json").read_text())) == {"classes", "records"}
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"images.bin", "index.json", "masks.bin"}


def test_a_worker_process_gets_arrays_and_reads_the_same(root, tmp_path):
    store = packed(root, tmp_path / "store")
    other = pickle.loads(pickle.dumps(store))
    for position in range(11):
        assert np.array_equal(other.image(position), store.image(position))
    assert np.array_equal(other.labels(range(11)), store.labels(range(11)))


def first_image(root, out):
    """What a store shows of the first image, and what Pillow does."""
    with Image.open(root / FIRST) as picture:
        return packed(root, out).image(0), np.array(picture.convert("RGB"))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_pictures_become_rgb(root, tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4 if mode == "CMYK" else 1), dtype=np.uint8).squeeze()
    Image.fromarray(pixels, mode).save(root / FIRST, "JPEG", quality=95)
    image, expected = first_image(root, tmp_path / "store")
    assert image.shape == (9, 12, 3)
    assert np.array_equal(image, expected)


def test_a_png_that_is_called_jpeg_is_read(root, tmp_path):
    # As n02105855_2933.JPEG of ImageNet is.
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / FIRST, "PNG")
    assert np.array_equal(first_image(root, tmp_path / "store")[0], pixels)


def test_an_orientation_in_exif_data_is_not_applied(root, tmp_path):
    with Image.open(root / FIRST) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter
        picture.save(root / FIRST, exif=exif, quality=95)
    with Image.open(root / FIRST) as picture:
        assert ImageOps.exif_transpose(picture).size == (9, 12)
    image, expected = first_image(root, tmp_path / "store")
    assert image.shape == (9, 12, 3)
    assert np.array_equal(image, expected)  # as torchvision's ImageFolder has it


def test_broken_exif_data_say_nothing(root, tmp_path):
    with Image.open(root / FIRST) as picture:
        picture.save(root / FIRST, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x10\x00garbage")
    content = (root / FIRST).read_bytes()
    start = content.index(b"\xff\xe0")  # without the JFIF header Pillow looks into the EXIF data
    length = int.from_bytes(content[start + 2 : start + 4], "big")
    (root / FIRST).write_bytes(content[:start] + content[start + 2 + length :])
    with pytest.warns(UserWarning, match="Corrupt EXIF data"), Image.open(root / FIRST):
        pass
    store = packed(root, tmp_path / "store")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert store.image(0).shape == (9, 12, 3)
    assert caught == []


@pytest.mark.parametrize("spoil", [lambda c: c[:300], lambda c: b"GIF89a" + c[6:], lambda c: bytes(len(c))])
def test_a_picture_that_cannot_be_decoded_is_named(root, tmp_path, spoil):
    (root / FIRST).write_bytes(spoil((root / FIRST).read_bytes()))
    with pytest.raises(UserError, match=rf"{FIRST} is not readable as a JPEG or PNG picture: .*; restore the file"):
        packed(root, tmp_path / "store").image(0)


def test_a_picture_in_the_archive_that_cannot_be_decoded_is_named(root, tmp_path):
    pack_validation(root)
    store = packed(root, tmp_path / "store")
    content = bytearray((root / ARCHIVE).read_bytes())
    offset = int(store._manifest.offsets[6])
    content[offset : offset + 20] = bytes(20)
    (root / ARCHIVE).write_bytes(content)
    with pytest.raises(UserError, match=rf"{ARCHIVE}: ILSVRC2012_val_00000003\.JPEG is not readable as a JPEG or PNG"):
        store.image(6)


def test_an_image_that_has_changed_its_size_is_named(root, tmp_path):
    store = packed(root, tmp_path / "store")
    was = size(root / FIRST)
    with (root / FIRST).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match=rf"{FIRST} has {was + 1} bytes, {was} when .* run the stage dataset again"):
        store.image(0)


def test_an_image_that_is_gone_is_named(root, tmp_path):
    store = packed(root, tmp_path / "store")
    (root / FIRST).unlink()
    with pytest.raises(UserError, match=rf"{FIRST} is missing, which was there when .* run the stage dataset again"):
        store.image(0)


def test_an_archive_that_has_become_shorter_is_named(root, tmp_path):
    pack_validation(root)
    store = packed(root, tmp_path / "store")
    (root / ARCHIVE).write_bytes((root / ARCHIVE).read_bytes()[:700])
    with pytest.raises(UserError, match=rf"{ARCHIVE}: ILSVRC2012_val_\d+\.JPEG has 0 bytes, \d+ when"):
        store.image(6)


# What keeps the number of bytes, as the index tells it.
TABLES = {
    "another header": lambda text: text.replace("part", "sect", 1),
    "noise": lambda text: "\x00" * len(text),
    "an unknown folder": lambda text: text.replace(f"train,{WNIDS[0]}", f"train,{STRANGE}", 1),
    "an unknown part": lambda text: text.replace("\nval,", "\nvol,", 1),
    "training after validation": lambda text: text.replace(f"\nval,{WNIDS[2]}", f"\ntrain,{WNIDS[2]}").replace(
        "_9.JPEG", ".JPEG", 1
    ),
    "no size": lambda text: text.replace(",0\n", ",x\n", 1),
    "an offset without an archive": lambda text: text.replace(",0\n", ",7\n", 1),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_manifest_that_is_damaged_is_named(root, tmp_path, what):
    packed(root, tmp_path / "store")
    path = tmp_path / "store" / "manifest.csv"
    text = path.read_text()
    path.write_text(TABLES[what](text))
    assert path.read_text() != text
    assert size(path) == len(text)
    with pytest.raises(UserError, match=r"manifest\.csv is damaged; run the stage dataset again"):
        Store(tmp_path / "store")


def test_a_manifest_of_another_size_is_named(root, tmp_path):
    packed(root, tmp_path / "store")
    path = tmp_path / "store" / "manifest.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match=r"manifest\.csv has \d+ bytes, its index \d+; run the stage dataset again"):
        Store(tmp_path / "store")
    path.unlink()
    with pytest.raises(UserError, match=r"manifest\.csv is missing; run the stage dataset first"):
        Store(tmp_path / "store")


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("manifest"),
        lambda index: index.update(exclusive=False),
        lambda index: index.update(manifest=3),
        lambda index: index["manifest"].update(bytes="many"),
        lambda index: index["manifest"].update(root=None),
        lambda index: index["manifest"].update(archive=3),
        lambda index: index["manifest"].update(folders=index["manifest"]["folders"][::-1]),
        lambda index: index["manifest"].update(folders=index["manifest"]["folders"][1:]),
        lambda index: index["records"][0].update(part="train"),
        lambda index: index["records"][0].update(labels=[0, 1]),
    ],
)
def test_an_index_that_is_damaged_is_named(root, tmp_path, change):
    packed(root, tmp_path / "store")
    path = tmp_path / "store" / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"index\.json is damaged; run the stage dataset again"):
        Store(tmp_path / "store")
