"""What a network is shown, and which pairs are scored."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from attribution_preservation.data import inputs
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.imagenet_folder import find_images, imagenet_classes
from attribution_preservation.data.inputs import Normalize, evaluation_images, frame_image, frame_mask, scored_pairs
from attribution_preservation.data.segmentation import read_segmentation
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack, pack_beside
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory
from attribution_preservation.errors import UserError
from attribution_preservation.optimization import Augmentation
from attribution_preservation.training.batches import Originals, collate
from tests.conftest import make_imagenet, segmented, write_splits, write_voc_image

PERSON, DOG = VOC_CLASSES.index("person"), VOC_CLASSES.index("dog")


@pytest.fixture
def store(voc, tmp_path):
    (tmp_path / "store").mkdir()
    pack(voc, tmp_path / "store")
    return Store(tmp_path / "store")


def test_images_are_resized_whole_as_torchvision_does(store):
    resized = evaluation_images(store, [2, 3], Framing(size=9))
    for row, position in enumerate([2, 3]):
        image = torch.from_numpy(np.array(store.image(position))).permute(2, 0, 1)
        expected = v2.functional.resize(image.float(), [9, 9], antialias=True).round()
        assert (resized[row].float() - expected).abs().max() <= 1


def test_masks_are_resized_to_the_nearest_pixel_centre():
    mask = np.array([[1, 1, 255, 2], [1, 1, 255, 2]], dtype=np.uint8)
    # Centres of two columns over four lie at 0.5 and 2.5 pixels from the left: columns 1 and 3.
    assert frame_mask(mask, Framing(size=2)).tolist() == [[1, 2], [1, 2]]


# Height and width: lying and standing, halves of pixels on either side, as long as wide, ten times as long.
SHAPES = [(20, 31), (31, 20), (333, 500), (500, 333), (257, 256), (256, 259), (64, 64), (40, 400), (375, 500)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (224, 224), (31, 36), (24, 37)])
def test_the_centre_of_a_resized_image_is_torchvisions(shape, size, resize):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(size)])
    expected = theirs(torch.from_numpy(image).permute(2, 0, 1))
    framed = frame_image(image, Framing(size=size, resize=resize))
    assert framed.dtype == torch.uint8
    assert framed.shape == (3, size, size)
    assert (framed.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (31, 36), (24, 37)])
def test_a_mask_is_cut_where_its_image_is(shape, size, resize):
    mask = np.random.default_rng(0).choice([0, 1, 255], shape).astype(np.uint8)
    exact = v2.InterpolationMode.NEAREST_EXACT
    theirs = v2.Compose([v2.Resize(resize, interpolation=exact), v2.CenterCrop(size)])
    expected = theirs(torch.from_numpy(mask)[None])[0]
    assert np.array_equal(frame_mask(mask, Framing(size=size, resize=resize)), expected.numpy())


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, operation, types, arguments=(), words=None):
        made = operation(*arguments, **(words or {}))
        if isinstance(made, torch.Tensor):
            self.elements = max(self.elements, made.numel())
        return made


# No tensor may have more elements, of an image or of anything between it and the square.
BOUND = 3 * 2**22
# Height and width: a line and a column, two of them, the longest that a JPEG can have, a single pixel.
LONG = [(1, 3000), (3000, 1), (2, 4000), (4000, 3), (1, 65_535), (65_535, 1), (1, 1)]
FRAMINGS = [Framing(size=224, resize=256), Framing(size=1024, resize=2048), Framing(size=1024), Framing(size=32)]


@pytest.mark.parametrize("shape", LONG)
@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
def test_no_shape_of_an_image_makes_a_tensor_beyond_a_bound(shape, framing):
    image = np.full((*shape, 3), (7, 70, 170), dtype=np.uint8)
    with LargestTensor() as largest:
        square, mask = frame_image(image, framing), frame_mask(image[:, :, 0], framing)
    assert square.shape == (3, framing.size, framing.size)
    assert mask.shape == (framing.size, framing.size)
    assert 3 * framing.size**2 <= largest.elements <= BOUND
    # One colour stays one colour, however it is resized.
    assert [channel.unique().tolist() for channel in square] == [[7], [70], [170]]
    assert np.unique(mask).tolist() == [7]


@pytest.mark.parametrize("shape", LONG)
def test_no_shape_of_a_training_image_makes_a_tensor_beyond_a_bound(shape):
    class OneImage:
        def image(self, position):
            return np.full((*shape, 3), 7, dtype=np.uint8)

    for augmentation, framing in itertools.product(
        (Augmentation(flip=0.5, crop_scale=None), Augmentation(flip=0.5, crop_scale=[0.5, 1.0])), FRAMINGS[::2]
    ):
        with LargestTensor() as largest:
            batch, _ = collate([Originals(OneImage(), [0], framing, augmentation)[("seed",), 0]])
            resized = batch.resized(framing.size)
        assert resized.shape == (1, 3, framing.size, framing.size)
        assert largest.elements <= BOUND


# So long that the whole would be too large, and still small enough to be resized whole in a test.
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (3, 800), (700, 4), (31, 31 * 100)])
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (129, 140)])
def test_the_centre_of_a_long_image_is_torchvisions(shape, size, resize):
    random = np.random.default_rng(0)
    image, mask = (
        random.integers(0, 256, (*shape, 3), dtype=np.uint8),
        random.choice([0, 1, 255], shape).astype(np.uint8),
    )
    framing = Framing(size=size, resize=resize)
    cut = v2.CenterCrop(size)
    expected = cut(v2.Resize(resize, antialias=True)(torch.from_numpy(image).permute(2, 0, 1)))
    assert (frame_image(image, framing).int() - expected.int()).abs().max() <= 1
    exact = v2.Resize(resize, interpolation=v2.InterpolationMode.NEAREST_EXACT)
    # Of a tie between two pixels torch's single precision decides.
    differ = frame_mask(mask, framing) != cut(exact(torch.from_numpy(mask)[None]))[0].numpy()
    assert differ.mean() <= 0.01


def test_a_photograph_that_is_too_large_to_be_resized_as_numbers_is_torchvisions(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    expected = [frame_image(image, framing).int() for framing in (Framing(size=64), Framing(size=64, resize=80))]
    monkeypatch.setattr(inputs, "_MOST_GIVEN", 300 * 500 - 1)
    with LargestTensor() as largest:
        framed = [frame_image(image, framing).int() for framing in (Framing(size=64), Framing(size=64, resize=80))]
    assert largest.elements < image.size
    assert max((one - other).abs().max() for one, other in zip(framed, expected, strict=True)) <= 1


def test_an_object_that_the_frame_leaves_out_is_not_scored(tmp_path):
    # Lying, three times as long as high: the square keeps the middle third alone.
    mask = np.zeros((10, 30), dtype=np.uint8)
    mask[2:8, 1:8], mask[2:8, 12:18] = DOG + 1, PERSON + 1
    write_voc_image(tmp_path / "voc", "a", ["dog", "person"], mask)
    write_voc_image(tmp_path / "voc", "b", ["dog"], mask)
    write_splits(tmp_path / "voc", ["b"], ["a"])
    (tmp_path / "store").mkdir()
    pack(VOCDirectory(tmp_path / "voc", VOC_CLASSES), tmp_path / "store")
    store = Store(tmp_path / "store")
    assert scored_pairs(store, [1], Framing(size=10)).label.tolist() == [DOG, PERSON]
    pairs = scored_pairs(store, [1], Framing(size=10, resize=10))
    assert pairs.label.tolist() == [PERSON]
    assert np.array_equal(pairs.masks[0], mask[:, 10:20])


def test_where_classes_exclude_each_other_networks_decide_what_is_asked_of_every_masked_image_twice(tmp_path):
    root = make_imagenet(tmp_path / "imagenet")
    (tmp_path / "store").mkdir()
    manifest = find_images(str(root), 3, None).manifest
    masked = read_segmentation(root / "gtsegs_ijcv.mat")
    pack_beside(manifest, masked, imagenet_classes().names, tmp_path / "store", {})
    store = Store(tmp_path / "store")
    pairs = scored_pairs(store, store.part("val"), Framing(size=5, resize=5))
    assert (pairs.image.tolist(), pairs.label) == ([3, 4, 3, 4], None)
    for place, mask in enumerate(segmented()[1] * 2):
        assert np.array_equal(pairs.masks[pairs.mask_row[place]], frame_mask(mask, Framing(size=5, resize=5)))


def test_a_square_cannot_be_cut_from_a_smaller_image():
    with pytest.raises(ValueError, match="a square of 224 pixels cannot be cut from an image resized to 200"):
        Framing(size=224, resize=200)


def test_an_image_cannot_be_resized_to_more_than_any_photograph_has():
    assert Framing(size=1024, resize=8192).resize == 8192
    with pytest.raises(ValueError, match="less than or equal to 8192"):
        Framing(size=1024, resize=8193)


def test_every_class_in_a_mask_is_a_pair_and_void_is_none(store):
    pairs = scored_pairs(store, store.part("val"), Framing(size=16))
    assert list(zip(pairs.image, pairs.label, pairs.mask_row, strict=True)) == [
        (0, DOG, 0),
        (0, PERSON, 0),
        (1, DOG, 1),
    ]
    assert pairs.masks.shape == (2, 16, 16)


def test_a_class_that_vanishes_at_the_input_size_is_no_pair(store):
    sizes = {size: len(scored_pairs(store, store.part("val"), Framing(size=size))) for size in (16, 1)}
    assert sizes[16] == 3
    assert sizes[1] < 3


def test_images_without_any_mask_cannot_be_scored(store):
    with pytest.raises(UserError, match="no evaluation image has a mask"):
        scored_pairs(store, store.part("train"), Framing(size=16))


def test_normalisation_is_torchvisions():
    images = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    mean, std = [0.4589, 0.4355, 0.4032], [0.2239, 0.2186, 0.2206]
    expected = v2.functional.normalize(images.float() / 255, mean, std)
    torch.testing.assert_close(Normalize(mean, std)(images), expected, atol=1e-5, rtol=1e-5)
