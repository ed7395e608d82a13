"""Crops and flips on the device: torchvision's own, image by image."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.transforms import v2

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import frame_image
from attribution_preservation.optimization import Augmentation, Optimization
from attribution_preservation.training import batches
from attribution_preservation.training.augmentation import Augmenter, Crop, Crops, resize_weights

SIZES = [(40, 61), (17, 9), (8, 100), (33, 33), (24, 24)]


def photographs(sizes=SIZES):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scale", [[0.08, 1.0], [0.5, 0.5], None])
def test_a_batch_is_what_torchvision_makes_of_its_images_one_by_one(scale, flip):
    augmenter = Augmenter(Augmentation(crop_scale=scale, flip=flip))
    images = photographs()
    batch = Crops.of([augmenter(image, seed) for seed, image in enumerate(images)]).resized(24)
    crop = v2.RandomResizedCrop(24, scale=scale, antialias=True) if scale else v2.Resize((24, 24), antialias=True)
    chain = v2.Compose([crop, v2.RandomHorizontalFlip(flip)])
    for seed, (image, resized) in enumerate(zip(images, batch, strict=True)):
        torch.manual_seed(seed)
        expected = chain(torch.from_numpy(image).permute(2, 0, 1))
        # torchvision resizes bytes in fixed point.
        assert (resized.int() - expected.int()).abs().max() <= 1


def test_the_crop_of_an_image_does_not_depend_on_its_company():
    augmenter = Augmenter(Augmentation(crop_scale=[0.3, 1.0], flip=0.5))
    crops = [augmenter(image, seed) for seed, image in enumerate(photographs())]
    together = Crops.of(crops).resized(16)
    for crop, resized in zip(crops, together, strict=True):
        assert (Crops.of([crop]).resized(16)[0].int() - resized.int()).abs().max() <= 1  # sums in another order


def test_an_image_of_the_right_size_keeps_every_byte():
    (image,) = photographs([(24, 24)])
    resized = Crops.of([Crop(image, False), Crop(image, True), Crop(photographs([(40, 30)])[0], False)]).resized(24)
    whole = torch.from_numpy(image).permute(2, 0, 1)
    assert torch.equal(resized[0], whole)
    assert torch.equal(resized[1], whole.flip(2))


@pytest.mark.parametrize(("length", "size"), [(3, 7), (7, 3), (5, 5), (100, 24), (1, 4)])
def test_a_line_is_resized_as_torch_resizes_it(length, size):
    line = torch.rand(length)
    weights = resize_weights(torch.tensor([length]), length + 4, size)[0]
    picture = line.expand(1, 1, length, length)
    expected = functional.interpolate(picture, size=(size, size), mode="bilinear", antialias=True)[0, 0, 0]
    padded = torch.cat([line, torch.full((4,), 99.0)])
    torch.testing.assert_close(weights @ padded, expected, atol=1e-6, rtol=1e-5)


def test_a_whole_image_is_resized_as_in_evaluation():
    images = photographs()
    batch = Crops.of([Crop(image, False) for image in images]).resized(13)
    for image, resized in zip(images, batch, strict=True):
        assert (resized.int() - frame_image(image, Framing(size=13)).int()).abs().max() <= 1


def test_drawing_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Augmenter(Augmentation(crop_scale=[0.3, 1.0], flip=0.5))(photographs()[0], 7)
    assert torch.equal(torch.rand(3), expected)


def test_a_large_photograph_does_not_pad_its_batch_and_looks_the_same(monkeypatch):
    class Album:
        def __init__(self):
            self.images = photographs([(40, 61), (1300, 1100), (33, 33), (24, 30)])

        def part(self, name):
            return range(len(self.images))

        def labels(self, positions):
            return np.arange(len(positions))

        def image(self, position):
            return self.images[position]

    padded = []

    def seen(crops):
        padded.append(max(crop.image.shape[0] for crop in crops))
        return Crops.of(crops)

    optimization = Optimization(
        epochs=1, images_per_epoch=None, batch_size=4, learning_rate=0.1, milestones=[], gamma=0.1, momentum=0.0,
        weight_decay=0.0, augmentation=Augmentation(crop_scale=[0.9, 1.0], flip=0.5),
    )  # fmt: skip
    monkeypatch.setattr(batches, "Crops", type("Spy", (), {"of": staticmethod(seen)}))
    resized = []
    for longest in (batches._LONGEST, 10_000):
        monkeypatch.setattr(batches, "_LONGEST", longest)
        ((images, labels),) = batches.Batches(Album(), Framing(size=24), optimization, 0).epoch(0, "test")
        resized.append(images.int())
    assert labels.tolist() != [0, 1, 2, 3]
    assert padded[0] <= 61 < 1000 < padded[1]
    assert (resized[0] - resized[1]).abs().max() <= 1
