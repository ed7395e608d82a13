"""The miniature: reproducible, honest about its parts, and in the layouts of the real thing."""

import h5py
import numpy as np
import pytest
from PIL import Image

from attribution_preservation.data import scenes
from attribution_preservation.data.imagenet_folder import find_images, imagenet_classes
from attribution_preservation.data.miniature import MINIATURE_WNIDS, write_miniature
from attribution_preservation.data.scenes import INK
from tests.conftest import hashes

SMALL = {"train_images": 4, "val_images": 3, "segmented_images": 12, "smallest": 50, "largest": 70}


def made(root, seed=3, **changes):
    root.mkdir()
    write_miniature(root, seed=seed, **(SMALL | changes))
    return root


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first, again, other = made(tmp_path / "a"), made(tmp_path / "b"), made(tmp_path / "c", seed=4)
    assert hashes(first, "") == hashes(again, "")
    changed = [name for name, digest in hashes(other, "").items() if hashes(first, "")[name] != digest]
    assert len(changed) == len(hashes(first, "")) == 10 * (4 + 3) + 1
    assert sizes_of_segmented(first) != sizes_of_segmented(other)


def sizes_of_segmented(root):
    with h5py.File(root / "gtsegs_ijcv.mat") as file:
        return [file[reference].shape for reference in file["/value/img"][:, 0]]


def test_the_number_of_images_with_masks_changes_no_other_image(tmp_path):
    few, many = made(tmp_path / "a"), made(tmp_path / "b", segmented_images=20)
    assert hashes(few, "train", "val") == hashes(many, "train", "val")


def test_its_classes_are_imagenettes(tmp_path):
    names = dict(zip(imagenet_classes().wnids, imagenet_classes().names, strict=True))
    assert [names[wnid] for wnid in MINIATURE_WNIDS] == [
        "tench", "English springer", "cassette player", "chain saw", "church", "French horn", "garbage truck",
        "gas pump", "golf ball", "parachute",
    ]  # fmt: skip
    manifest = find_images(str(made(tmp_path / "a")), 10, None).manifest
    assert (manifest.train, len(manifest)) == (40, 70)


def test_files_are_named_as_imagenets_are(tmp_path):
    root = made(tmp_path / "a")
    for wnid in MINIATURE_WNIDS:
        assert all(path.stem.startswith(f"{wnid}_") for path in (root / "train" / wnid).iterdir())
    assert sorted(path.name for path in root.glob("val/*/*")) == [f"ILSVRC2012_val_{k:08d}.JPEG" for k in range(1, 31)]


def test_images_differ_in_size_and_some_are_grey(tmp_path):
    sizes, modes = set(), []
    for path in made(tmp_path / "a").glob("*/*/*.JPEG"):
        with Image.open(path) as picture:
            assert picture.format == "JPEG"
            sizes.add(picture.size)
            modes.append(picture.mode)
    assert all(50 <= side <= 70 for size in sizes for side in size)
    assert len({width > height for width, height in sizes}) == 2
    assert len(sizes) > 40
    assert modes.count("L") == 4 + 3  # one in ten


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn, in order: the sample, its place and its ink."""
    drawings, write = [], scenes.Canvas.write

    def recording(self, sample, color, top, left, side):
        ink = write(self, sample, color, top, left, side)
        drawings.append((sample, (top, left, side), self.image.shape[:2], ink))
        return ink

    monkeypatch.setattr(scenes.Canvas, "write", recording)
    return drawings


def test_no_handwriting_occurs_in_two_parts(tmp_path, drawn):
    made(tmp_path / "a", train_images=60, val_images=30, segmented_images=200)
    parts = [drawn[:600], drawn[600:900], drawn[900:]]
    samples = [{sample.tobytes() for sample, *_ in part} for part in parts]
    assert min(map(len, samples)) > 100
    assert not samples[0] & samples[1]
    assert not samples[0] & samples[2]
    assert not samples[1] & samples[2]


def test_the_object_is_near_the_centre_and_within_the_image(tmp_path, drawn):
    made(tmp_path / "a", train_images=20)
    centres = []
    for _, (top, left, side), (height, width), _ in drawn:
        assert 0 <= top <= height - side
        assert 0 <= left <= width - side
        assert 0.4 < side / min(height, width) < 0.7
        centres.append(((top + side / 2) / height, (left + side / 2) / width))
    assert np.abs(np.mean(centres, axis=0) - 0.5).max() < 0.03
    assert 0.02 < np.std(centres, axis=0).min() < np.std(centres, axis=0).max() < 0.1


def test_masks_are_the_strokes(tmp_path, drawn):
    root = made(tmp_path / "a")
    with h5py.File(root / "gtsegs_ijcv.mat") as file:
        assert file["/value/img"].shape == file["/value/gt"].shape == (12, 1)
        for k, (_, (top, left, side), size, ink) in enumerate(drawn[-12:]):
            image = np.array(file[file["/value/img"][k, 0]]).transpose((2, 1, 0))
            mask = np.array(file[file[file["/value/gt"][k, 0]][0, 0]]).transpose((1, 0))
            assert image.shape == (*size, 3)
            assert mask.shape == size
            assert np.array_equal(mask[top : top + side, left : left + side] == 1, ink > INK)
            assert mask.sum() == (ink > INK).sum() > 0


def test_the_file_with_masks_says_that_it_is_matlabs(tmp_path):
    content = (made(tmp_path / "a") / "gtsegs_ijcv.mat").read_bytes()
    # A text of 116 bytes, 8 of an offset, then version 2 in the order of bytes that IM tells; HDF5 begins at 512.
    assert content.startswith(b"MATLAB 7.3 MAT-file ")
    assert (content[124:128], content[512:516]) == (b"\x00\x02IM", b"\x89HDF")
