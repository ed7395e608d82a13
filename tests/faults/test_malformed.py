"""Malformed inputs: each is refused in a line, or does no harm; `python -m benchmarks faults` tries all of them."""

import pytest

from tests.faults.malformed import DAMAGE, LOG, READERS, TEACHER, Case, cases, outcome

ALL = list(cases())
# A different kind of damage for every file, and every fifth of those that were made for one.
OF_FILES = len(READERS) * (len(DAMAGE) + 2)
SHORT = [*ALL[: OF_FILES : len(DAMAGE) + 3], *ALL[OF_FILES::5]]


# What stands in the line; docs/errors.md has the whole of it.
NAMED = {
    "params.yaml: missing": "params.yaml is missing; run this in the project's root folder",
    "params.yaml: seed_groups is a number before teacher": "seed_groups is neither a list nor a mapping",
    "dvc.yaml: an empty mapping": "dvc.yaml: stages is missing or no mapping of stages",
    "dvc.yaml: no report": "dvc.yaml has no stage report",
    "data/dataset/index.json: noise": "index.json is damaged; run the stage dataset again",
    "data/dataset/images.bin: missing": "images.bin is missing; run the stage dataset first",
    "data/dataset/masks.bin: its first half": "bytes, its index",
    "a VOC folder with no ImageSets/Main": "data.root must lead to a folder in the VOC layout",
    "a VOC folder with no Annotations": "is missing; every image of a split needs its annotation",
    "a VOC folder with a split of bytes that are no text": "train.txt is not readable as text",
    "a VOC folder with a name in a split with its class": "train.txt, line 1: 'a -1' is from a list of one class",
    "a VOC folder with a name in a split that is for evaluation": "Main/val.txt names 1 training image",
    "a VOC folder with masks of Main/train that are none": "Segmentation/val.txt names 2 training images",
    "a VOC folder with masks of Main/val that are none": "no mask of Segmentation/val holds a class",
    "ImageNet with training images in val": "holds 2 training images",
    f"models/all/{TEACHER}: an unknown family": "is not a network file of this project",
    "models/all/teacher/vgg6_bn/seed-0: gone": "holds no network; run the stages that train them first",
    "models/all/teacher: missing before probe": "models/all lacks the teacher",
    "models/all/teacher: missing before roar": "models/all/teacher/vgg6_bn holds no teacher",
    "models/all/distill/half/sswa: gone": "holds no network of half with the method sswa",
    "maps/all/teacher: missing before evaluate": "maps/all/teacher holds no maps; run the stage attribute first",
    "maps/all/teacher: missing before figures": "maps/all holds no teacher vgg6_bn of seed 0",
    f"maps/all/{TEACHER}: another seed than its students": "maps hold no teacher vgg6_bn of seed 0",
    f"maps/all/{TEACHER}: of half of the data": "is of another data set",
    f"maps/all/{TEACHER}: methods that are a number": "which methods and sizes it is of",
    f"maps/all/{TEACHER}: its middle overwritten": "holds what is infinite or no number",
    "scores/all/teacher/pairs/vgg6_bn/seed-0: missing before analysis": "scores hold no teacher",
    "scores/all/teacher/pairs/vgg6_bn/seed-0/network.safetensors: of half of the data": "is of another data set",
    "roar/all: no classifier of the teacher's": "roar holds no classifier of the teacher's maps",
    f"{LOG}: its first half": "log.csv breaks off; run the stage distill first",
    f"{LOG}: another text": "log.csv lacks the column phase; run the stage distill first",
    "scores/all/teacher/results.csv: its first half": "results.csv breaks off; run the stage evaluate first",
    "scores/all/teacher/results.csv: no header": "lacks the column compression",
    "scores/all/teacher/results.csv: words for numbers": "holds what is no number",
    "scores/all/teacher/results.csv: a column too many": "has more cells than columns",
    "scores/all/teacher/results.csv: Latin letters that are no UTF-8": "is not readable as CSV",
}


@pytest.mark.parametrize("case", [case for case in SHORT if case.name not in NAMED], ids=lambda case: case.name)
def test_a_malformed_input_is_refused_in_a_line_or_does_no_harm(finished, tmp_path, case: Case):
    case_outcome = outcome(case, finished[0], tmp_path)
    assert case_outcome.kind in ("refused", "accepted"), case_outcome.message


@pytest.mark.parametrize("name", NAMED)
def test_what_is_wrong_is_named(finished, tmp_path, name):
    (case,) = (case for case in ALL if case.name == name)
    case_outcome = outcome(case, finished[0], tmp_path)
    assert case_outcome.kind == "refused", case_outcome.message
    assert NAMED[name] in case_outcome.message


def test_there_are_enough_of_them_and_no_two_alike():
    assert len({case.name for case in ALL}) == len(ALL) >= 200
