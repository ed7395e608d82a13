"""Scenes of handwriting: reproducible, honest about the split, in agreement with their annotations."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from attribution_preservation.data import digits
from attribution_preservation.data.digits import DIGIT_CLASSES, write_scenes
from attribution_preservation.data.voc import VOCDirectory

SMALL = {"size": 64, "train_images": 6, "evaluation_images": 5}


def written(root, seed=3):
    root.mkdir()
    write_scenes(root, seed=seed, **SMALL)
    return root


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first, again, other = written(tmp_path / "a"), written(tmp_path / "b"), written(tmp_path / "c", seed=4)
    assert contents(first) == contents(again)
    assert contents(first) != contents(other)


def test_masks_and_annotations_name_the_same_classes(tmp_path):
    voc = VOCDirectory(written(tmp_path / "a"), DIGIT_CLASSES)
    for name in voc.split("Main", "train") + voc.split("Segmentation", "val"):
        in_mask = np.setdiff1d(voc.mask(name), [0, 255]) - 1
        assert voc.labels(name) == in_mask.tolist()
        assert (voc.mask(name) == 255).any()  # a seam of void, as in VOC


def test_no_handwriting_is_seen_in_training_and_evaluation(tmp_path, monkeypatch):
    used = {"train": set(), "val": set()}
    part = None
    draw = digits._Scene.draw

    def recording(self, handwriting, labels):
        used[part] |= {sample.tobytes() for sample in handwriting}
        draw(self, handwriting, labels)

    monkeypatch.setattr(digits._Scene, "draw", recording)
    # A scene does not know its part, so the part is told from the number of scenes before it.
    counted = iter(["train"] * SMALL["train_images"] + ["val"] * SMALL["evaluation_images"])
    initial = digits._Scene.__init__

    def counting(self, *arguments):
        nonlocal part
        part = next(counted)
        initial(self, *arguments)

    monkeypatch.setattr(digits._Scene, "__init__", counting)
    written(tmp_path / "a")
    everything = {(sample.reshape(8, 8) / 16.0).tobytes() for sample in load_digits().data}
    assert used["train"] | used["val"] == everything
    assert not used["train"] & used["val"]


@pytest.mark.parametrize("size", [48, 128])
def test_other_sizes_are_drawn_in_full(tmp_path, size):
    write_scenes(tmp_path, seed=0, size=size, train_images=2, evaluation_images=1)
    voc = VOCDirectory(tmp_path, DIGIT_CLASSES)
    assert voc.image("train_00000").shape == (size, size, 3)
    assert voc.mask("train_00000").shape == (size, size)
