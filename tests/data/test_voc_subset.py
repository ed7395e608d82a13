"""The real thing: 3,088 photographs of VOC 2012, from archive to store, where the archive is at hand."""

import numpy as np
import pytest

from attribution_preservation.data.archive import unpack, verify
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import scored_pairs
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory, find_voc_root
from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT

ARCHIVE = PROJECT.parent / "shared" / "data" / "voc2012-subset.tgz"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the project")
    verify(ARCHIVE, read_yaml(PROJECT / "params" / "voc_subset.yaml")["data"]["checksum"])
    folder, out = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("store")
    unpack(ARCHIVE, folder)
    pack(VOCDirectory(find_voc_root(folder), VOC_CLASSES), out)
    return Store(out)


def test_every_image_is_there_once(store):
    assert (len(store.part("train")), len(store.part("val"))) == (2419, 669)
    assert max(max(record.height, record.width) for record in store.records) == 256


def test_masks_and_annotations_of_evaluation_images_name_the_same_classes(store):
    for position in store.part("val"):
        in_mask = np.setdiff1d(store.mask(position), [0, 255]) - 1
        assert in_mask.tolist() == store.records[position].labels


def test_nothing_about_its_masks_or_lists_is_noticed(store):
    assert store.notes == ()


def test_every_object_that_is_large_enough_is_scored(store):
    positions = store.part("val")
    objects = sum(len(store.records[position].labels) for position in positions)
    pairs = scored_pairs(store, positions, Framing(size=227))
    assert 0.99 * objects <= len(pairs) <= objects
