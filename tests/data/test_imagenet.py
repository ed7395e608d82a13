"""ImageNet where it lies: the same images and classes as torchvision finds, and every way in which it can be wrong."""

import contextlib
import hashlib
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.models import ResNet18_Weights

from attribution_preservation.data import imagenet_folder as imagenet
from attribution_preservation.data.imagenet_folder import find_images, imagenet_classes
from attribution_preservation.data.miniature import write_miniature
from attribution_preservation.data.segmentation import read_segmentation
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack_beside
from attribution_preservation.errors import UserError
from tests.conftest import (
    WNIDS,
    hashes,
    make_imagenet,
    pack_validation,
    run_stage,
    segmented,
    write_devkit,
    write_parameters,
)

DEVKIT, ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar"
FIRST = f"train/{WNIDS[0]}/{WNIDS[0]}_10.JPEG"


@pytest.fixture
def root(tmp_path):
    return make_imagenet(tmp_path / "imagenet")


def packed(root, out, classes=3):
    """A store of what lies in a folder."""
    out.mkdir()
    contents = find_images(str(root), classes, None)
    masked = read_segmentation(root / "gtsegs_ijcv.mat")
    pack_beside(contents.manifest, masked, imagenet_classes().names, out, {"devkit": contents.devkit})
    return Store(out)


def test_the_class_indices_are_those_of_the_published_networks():
    classes = imagenet_classes()
    assert list(classes.names) == ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert list(classes.wnids) == sorted(set(classes.wnids))
    assert len(classes.wnids) == 1000
    # As every list of them on the web has it.
    assert {classes.wnids[k]: classes.names[k] for k in (0, 207, 999)} == {
        "n01440764": "tench", "n02099601": "golden retriever", "n15075141": "toilet tissue",
    }  # fmt: skip


def test_images_and_classes_are_those_of_torchvisions_image_folder(tmp_path):
    made = {"train_images": 3, "val_images": 2, "segmented_images": 2, "smallest": 48, "largest": 60}
    root = tmp_path / "miniature"
    root.mkdir()
    write_miniature(root, seed=1, **made)
    store = packed(root, tmp_path / "store", classes=10)
    for part, count in (("train", 30), ("val", 20)):
        expected = ImageFolder(str(root / part))
        positions = store.part(part)[:count]
        assert len(expected) == count
        # Both go by class and name; torchvision numbers the folders that there are.
        wnids = [expected.classes[target] for _, target in expected.samples]
        assert store.labels(positions).tolist() == [imagenet_classes().wnids.index(wnid) for wnid in wnids]
        for position, (picture, _) in zip(positions, expected, strict=True):
            assert np.array_equal(store.image(position), np.array(picture))


def test_the_manifest_depends_on_no_file_system(root, tmp_path, monkeypatch):
    packed(root, tmp_path / "one")
    scandir = os.scandir

    @contextlib.contextmanager
    def reversed_scandir(folder):
        with scandir(folder) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=True)

    monkeypatch.setattr(imagenet.os, "scandir", reversed_scandir)
    packed(root, tmp_path / "other")
    assert hashes(tmp_path / "one", "") == hashes(tmp_path / "other", "")
    lines = (tmp_path / "one" / "manifest.csv").read_text().splitlines()
    assert lines[:2] == ["part,folder,name,size,offset", f"train,{WNIDS[0]},{WNIDS[0]}_10.JPEG,{size(root / FIRST)},0"]
    assert len(lines) == 1 + 9


def size(path):
    return path.stat().st_size


def test_no_image_is_opened_to_find_it(root):
    before = find_images(str(root), 3, None).manifest
    for path in root.glob("*/*/*.JPEG"):
        path.write_bytes(bytes(size(path)))
    assert np.array_equal(find_images(str(root), 3, None).manifest.names, before.names)


def test_what_is_no_image_is_passed_over(root, tmp_path):
    for name in ("._n01440764_1.JPEG", "Thumbs.db", "README"):
        (root / "train" / WNIDS[0] / name).write_bytes(b"x")
    (root / "train" / "LICENSE").write_bytes(b"x")
    (root / "train" / ".cache").mkdir()
    assert len(find_images(str(root), 3, None).manifest) == 9


def test_the_official_archive_is_read_in_place(root, tmp_path):
    unpacked = packed(root, tmp_path / "unpacked")
    expected = {position: unpacked.image(position) for position in unpacked.part("val")}
    pack_validation(root)
    before = hashes(root, "")
    store = packed(root, tmp_path / "archive")
    assert hashes(root, "") == before
    assert np.array_equal(store.labels(store.part("val")), unpacked.labels(unpacked.part("val")))
    for position, image in expected.items():
        assert np.array_equal(store.image(position), image)
    index = json.loads((tmp_path / "archive" / "index.json").read_text())
    kit = hashlib.md5((root / DEVKIT).read_bytes()).hexdigest()
    assert (index["manifest"]["archive"], index["manifest"]["devkit"]) == (ARCHIVE, f"md5:{kit}")


def test_a_folder_of_validation_images_goes_before_the_archive(root):
    shutil.copytree(root / "val", root.parent / "val")
    pack_validation(root)
    shutil.copytree(root.parent / "val", root / "val")
    manifest = find_images(str(root), 3, None).manifest
    assert manifest.archive is None
    assert not manifest.offsets.any()


def test_the_development_kit_is_verified(root):
    pack_validation(root)
    kit = hashlib.md5((root / DEVKIT).read_bytes()).hexdigest()
    assert find_images(str(root), 3, f"md5:{kit}").devkit == f"md5:{kit}"
    with pytest.raises(UserError, match=rf"{DEVKIT}: md5 is {kit}, expected fa75699e90414af021442c21a62c3abf"):
        find_images(str(root), 3, "md5:fa75699e90414af021442c21a62c3abf")


def test_the_root_is_told_as_it_was_given(root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store").mkdir()
    contents = find_images("~/imagenet", 3, None)
    pack_beside(contents.manifest, [], imagenet_classes().names, tmp_path / "store", {"devkit": None})
    assert json.loads((tmp_path / "store" / "index.json").read_text())["manifest"]["root"] == "~/imagenet"
    with Image.open(root / FIRST) as picture:
        assert np.array_equal(Store(tmp_path / "store").image(0), np.array(picture))


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()


STRANGE = "n99999999"
WRONG = {
    "no train": (lambda root: shutil.rmtree(root / "train"), r"imagenet/train is missing; data\.root must hold"),
    "no val and no archive": (lambda root: shutil.rmtree(root / "val"), rf"holds neither val/ nor {ARCHIVE}"),
    "a class less": (
        lambda root: [shutil.rmtree(root / part / WNIDS[1]) for part in ("train", "val")],
        r"train holds 2 class folders, data\.imagenet\.classes says 3",
    ),
    "a strange folder": (
        lambda root: (root / "val" / WNIDS[0]).rename(root / "val" / STRANGE),
        rf"imagenet/val: {STRANGE} is no class of ImageNet-1k",
    ),
    "five strange folders": (
        lambda root: [(root / "train" / f"class {k}").mkdir() for k in range(5)],
        r"train: class 0, class 1, class 2 \(and 2 more\) is no class",
    ),
    "another class in val": (
        lambda root: (root / "val" / WNIDS[0]).rename(root / "val" / "n02099601"),
        r"train lacks n02099601, of which val has images",
    ),
    "an empty class": (lambda root: emptied(root / "train" / WNIDS[2]), rf"train/{WNIDS[2]} holds no image"),
    "an empty file": (lambda root: (root / FIRST).write_bytes(b""), rf"{WNIDS[0]}_10\.JPEG is empty; restore"),
    "a name with a comma": (
        lambda root: (root / FIRST).rename((root / FIRST).with_name("a,b.JPEG")),
        r"'a,b\.JPEG' is no plain image name",
    ),
    "a name in other letters": (
        lambda root: (root / FIRST).rename((root / FIRST).with_name("schlüssel.JPEG")),
        r"is no plain image name",
    ),
    "a name of 70 letters": (
        lambda root: (root / FIRST).rename((root / FIRST).with_name("a" * 65 + ".JPEG")),
        r"is no plain image name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_folder_that_is_wrong_is_named(root, what):
    spoil, message = WRONG[what]
    spoil(root)
    with pytest.raises(UserError, match=message):
        find_images(str(root), 3, None)


def copied(root, class_names, copy):
    """Put every training image of some classes into val under its own name."""
    for wnid in class_names:
        for path in sorted((root / "train" / wnid).iterdir()):
            copy(path, root / "val" / wnid / path.name)


def linked(root, *below):
    """Put a link to a folder of train in the place of the one in val."""
    path = root.joinpath("val", *below)
    shutil.rmtree(path)
    path.symlink_to(root.joinpath("train", *below))


BOTH = {
    "val is a link to train": (lambda root: linked(root), WNIDS[0], 2),
    "a class of val is a link to train's": (lambda root: linked(root, WNIDS[1]), WNIDS[1], 2),
    "copies of all training images": (lambda root: copied(root, WNIDS, shutil.copyfile), WNIDS[0], 2),
    "links to training images": (lambda root: copied(root, WNIDS[2:], lambda a, b: b.symlink_to(a)), WNIDS[2], 2),
    "hard links to training images": (lambda root: copied(root, WNIDS[2:], os.link), WNIDS[2], 2),
    "one copy": (lambda root: shutil.copyfile(root / FIRST, root / FIRST.replace("train", "val")), WNIDS[0], 1),
}  # fmt: skip


@pytest.mark.parametrize("what", BOTH)
def test_training_images_in_val_are_counted_and_refused(root, what):
    spoil, wnid, count = BOTH[what]
    spoil(root)
    with pytest.raises(UserError, match=rf"val/{wnid} holds {count} training images? \({wnid}_10\.JPEG.*unpack val"):
        find_images(str(root), 3, None)


def test_other_images_of_the_same_name_and_size_are_no_training_images(root):
    content = bytearray((root / FIRST).read_bytes())
    content[-3] ^= 1
    (root / FIRST.replace("train", "val")).write_bytes(content)
    assert len(find_images(str(root), 3, None).manifest) == 10


def test_a_class_that_val_alone_lacks_is_named(root):
    pack_validation(root)
    # The archive's images are all of one class.
    write_devkit(root / DEVKIT, [(1, WNIDS[0], 0)], b"1\n1\n1\n")
    with pytest.raises(UserError, match=rf"val lacks {WNIDS[1]}, {WNIDS[2]}, of which train has images"):
        find_images(str(root), 3, None)


def test_an_archive_without_the_kit_is_refused(root):
    pack_validation(root)
    (root / DEVKIT).unlink()
    with pytest.raises(UserError, match=rf"{DEVKIT} is missing, which tells the classes of {ARCHIVE}"):
        find_images(str(root), 3, None)


@pytest.mark.parametrize("left", [100, 512 + 20, 1024 + 512, 2048 + 100])
def test_a_truncated_validation_archive_is_named(root, left):
    pack_validation(root)
    path = root / ARCHIVE
    path.write_bytes(path.read_bytes()[:left])
    # Where it breaks off between two members, their number tells.
    with pytest.raises(UserError, match=rf"{ARCHIVE} (is truncated or no plain tar|holds \d images, .* of 3;)"):
        find_images(str(root), 3, None)


def test_a_compressed_validation_archive_cannot_be_read_in_place(root):
    pack_validation(root)
    shutil.copyfile(root / DEVKIT, root / ARCHIVE)
    with pytest.raises(UserError, match=rf"{ARCHIVE} is truncated or no plain tar archive"):
        find_images(str(root), 3, None)


def test_an_archive_of_another_number_of_images_is_refused(root):
    pack_validation(root)
    write_devkit(root / DEVKIT, [(k, wnid, 0) for k, wnid in enumerate(WNIDS)], b"0\n1\n2\n0\n")
    with pytest.raises(UserError, match=rf"{ARCHIVE} holds 3 images, {DEVKIT} tells the classes of 4; fetch both"):
        find_images(str(root), 3, None)


@pytest.mark.parametrize(
    ("synsets", "ground_truth", "message"),
    [
        ([(1, WNIDS[0], 0)], b"1\n2\n1\n", "2"),
        ([(1, WNIDS[0], 0)], b"1\nx\n1\n", "invalid literal"),
        ([(1, WNIDS[0], 0)], b"\xff\xfe\n1\n1\n", "invalid literal"),
        ([(1, WNIDS[0], 4)], b"1\n1\n1\n", "1"),  # a group has no images
        ([(1, "n00001740", 0)], b"1\n1\n1\n", "n00001740 is no class of ImageNet-1k"),
    ],
)
def test_a_development_kit_that_is_another_is_named(root, synsets, ground_truth, message):
    pack_validation(root)
    write_devkit(root / DEVKIT, [*synsets, (9, WNIDS[2], 0)], ground_truth)
    with pytest.raises(UserError, match=rf"{DEVKIT} is not readable as ImageNet's development kit \(.*{message}"):
        find_images(str(root), 3, None)


@pytest.mark.parametrize(("name", "message"), [("a,b.JPEG", "'a,b.JPEG' is no plain"), ("a.JPEG", "a.JPEG is empty")])
def test_a_member_that_no_manifest_holds_is_named(root, name, message):
    pack_validation(root)
    with tarfile.open(root / ARCHIVE, "w") as tar:
        for member in (name, "b.JPEG", "c.JPEG"):
            tar.addfile(tarfile.TarInfo(member))
    with pytest.raises(UserError, match=rf"{ARCHIVE}.*{message}"):
        find_images(str(root), 3, None)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100, bytes(10_240)])
def test_bytes_that_are_no_development_kit_are_named(root, content):
    pack_validation(root)
    (root / DEVKIT).write_bytes(content)
    with pytest.raises(UserError, match=rf"{DEVKIT} is not readable as ImageNet's development kit"):
        find_images(str(root), 3, None)


SETTINGS = {"data.source": "imagenet", "data.imagenet.classes": 3}


def test_the_stage_leaves_images_where_they_are(project):
    make_imagenet(project / "given")
    settings = {"data.root": "given", "data.imagenet.segmentation": "given/gtsegs_ijcv.mat"}
    write_parameters(project, SETTINGS | settings)
    done = run_stage(project, "dataset")
    assert done.returncode == 0, done.stderr
    checksum = hashlib.sha256((project / "given" / "gtsegs_ijcv.mat").read_bytes()).hexdigest()
    assert f"6 images for training, 3 for predictions, 2 with masks (sha256:{checksum}) in data/dataset" in done.stdout
    assert {path.name for path in (project / "data/dataset").iterdir()} == {
        "images.bin", "index.json", "manifest.csv", "masks.bin",
    }  # fmt: skip
    assert size(project / "data/dataset/images.bin") == sum(image.size for image in segmented()[0])
    before = hashes(project, "data/dataset")
    assert run_stage(project, "dataset").returncode == 0
    assert hashes(project, "data/dataset") == before


def test_the_stage_makes_a_miniature_twice_with_the_same_bytes(project):
    small = {"seed": 0, "train_images": 2, "val_images": 1, "segmented_images": 3, "smallest": 48, "largest": 64}
    write_parameters(project, {"data.source": "imagenet", "data.imagenet.miniature": small})
    runs = []
    for _ in range(2):
        done = run_stage(project, "dataset")
        assert done.returncode == 0, done.stderr
        runs.append(hashes(project, "data/dataset", "data/raw"))
    assert "20 images for training, 10 for predictions, 3 with masks" in done.stdout
    assert runs[0] == runs[1]
    assert len(list((project / "data/raw").glob("*/train/*/*.JPEG"))) == 20


def test_an_earlier_miniature_is_still_there_when_its_data_set_comes_back(project, monkeypatch):
    small = {"seed": 0, "train_images": 1, "val_images": 1, "segmented_images": 2, "smallest": 48, "largest": 64}
    kept, images = project / "kept", []
    for seed in (0, 1):
        changed = {"data.source": "imagenet", "data.imagenet.miniature": small | {"seed": seed}}
        write_parameters(project, changed)
        done = run_stage(project, "dataset")
        assert done.returncode == 0, done.stderr
        if not seed:
            shutil.copytree(project / "data/dataset", kept)  # as DVC's cache keeps it
    monkeypatch.chdir(project)
    for folder in (kept, project / "data/dataset"):
        images.append(Store(folder).image(0))
    assert images[0].shape != images[1].shape or (images[0] != images[1]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.root": "nowhere"}, "nowhere/train is missing; data.root must hold train/WNID and val/WNID"),
        ({"data.checksum": "md5:" + "0" * 32}, "data.checksum: ImageNet is a folder"),
        ({"data.imagenet.segmentation": "nowhere.mat"}, "nowhere.mat is missing; check data.imagenet.segmentation"),
        ({"data.imagenet.segmentation_checksum": "md5:" + "0" * 32}, "expected " + "0" * 32),
        ({"data.imagenet.classes": 4}, "train holds 3 class folders, data.imagenet.classes says 4"),
    ],
)
def test_what_the_stage_cannot_use_is_one_line_and_no_output(project, settings, message):
    make_imagenet(project / "given")
    given = {"data.root": "given", "data.imagenet.segmentation": "given/gtsegs_ijcv.mat"}
    write_parameters(project, SETTINGS | given | settings)
    done = run_stage(project, "dataset")
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (project / "data" / "dataset").exists()
