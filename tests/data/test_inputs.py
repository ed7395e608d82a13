"""What a network is shown, and which pairs are scored."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from attribution_preservation.data.inputs import Normalize, evaluation_images, frame_mask, scored_pairs
from attribution_preservation.data.store import Store, pack
from attribution_preservation.data.voc import VOC_CLASSES
from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.schema.data import Framing

PERSON, DOG = VOC_CLASSES.index("person"), VOC_CLASSES.index("dog")


@pytest.fixture
def store(voc, tmp_path):
    (tmp_path / "store").mkdir()
    pack(voc, tmp_path / "store")
    return Store(tmp_path / "store")


def test_images_are_resized_whole_as_torchvision_does(store):
    shown = evaluation_images(store, [2, 3], Framing(size=9))
    for row, position in enumerate([2, 3]):
        image = torch.from_numpy(np.array(store.image(position))).permute(2, 0, 1)
        expected = v2.functional.resize(image.float(), [9, 9], antialias=True).round()
        assert (shown[row].float() - expected).abs().max() <= 1


def test_masks_are_resized_to_the_nearest_pixel_centre():
    mask = np.array([[1, 1, 255, 2], [1, 1, 255, 2]], dtype=np.uint8)
    # Centres of two columns over four lie at 0.5 and 2.5 pixels from the left: columns 1 and 3.
    assert frame_mask(mask, Framing(size=2)).tolist() == [[1, 2], [1, 2]]


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
