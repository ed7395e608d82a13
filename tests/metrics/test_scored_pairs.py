"""Where classes exclude each other, every network is asked about its teacher's top class and about its own."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from attribution_preservation.data.inputs import Pairs
from attribution_preservation.metrics.comparisons import Comparisons, Truth
from attribution_preservation.metrics.evidence import Evidence, Maps
from attribution_preservation.metrics.prediction import exclusive_divergence, of_labels, same_top, top1
from attribution_preservation.metrics.scored_pairs import LabelPairs, TopPairs, scored_truth
from attribution_preservation.metrics.scoring import (
    Teacher,
    baseline_scores,
    score_students,
    student_rows,
    teacher_rows,
)

# Four images, of which the last two have masks: an object on the left, and one on the right.
MASKS = np.zeros((2, 4, 4), dtype=np.uint8)
MASKS[0, :, :2], MASKS[1, :, 2:] = 1, 1
ROWS = np.array([2, 3])
GIVEN = Pairs(np.tile(ROWS, 2), None, MASKS, np.tile([0, 1], 2))
LABELS = np.array([0, 2, -1, -1])
PAIRS = scored_truth(**vars(GIVEN), labels=LABELS)
LEFT, RIGHT = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
LEFT[1, 0], RIGHT[1, 3] = 1, 1


def logits(*tops):
    of_network = np.zeros((4, 3), dtype=np.float32)
    of_network[np.arange(4), tops] = 2.0
    return of_network


def evidence(tops, maps):
    return Evidence({"grad_cam": Maps(np.stack(maps), np.arange(4))}, logits(*tops), {"bytes": 1}, 0.5)


# The teacher's maps are right for both images; of the student's, which has another top class for the second image,
# the map of the teacher's class lies beside that image's object, and that of its own class on it.
TEACHER = evidence((0, 2, 1, 1), [LEFT, RIGHT, LEFT, RIGHT])
STUDENT = evidence((0, 1, 1, 0), [LEFT, LEFT, LEFT, RIGHT])


def rows_of(**students):
    teacher = Teacher(TEACHER, PAIRS)
    scored = score_students(teacher, students, ("naive", "swa"), PAIRS)
    return list(student_rows(teacher, students, scored, PAIRS, {}))


def value(rows, **where):
    (row,) = [row for row in rows if all(row.get(key) == wanted for key, wanted in where.items())]
    return row["value"], row["n"]


def test_the_classes_are_the_teachers_top_ones_and_then_the_networks_own():
    classes = GIVEN.classes(TEACHER.logits, STUDENT.logits)
    assert classes.tolist() == [1, 1, 1, 0]
    given = Pairs(ROWS, np.array([0, 2]), MASKS, np.array([0, 1]))
    assert given.classes(TEACHER.logits, STUDENT.logits).tolist() == [0, 2]


def test_the_kind_of_the_pairs_decides_how_they_are_scored():
    assert isinstance(PAIRS, TopPairs)
    given = Pairs(np.array([0, 1]), np.array([0, 0]), MASKS, np.array([0, 1]))
    assert isinstance(scored_truth(**vars(given), labels=np.eye(2)), LabelPairs)


def test_own_pairs_are_those_of_the_own_class_and_all_are_the_same_for_everyone():
    rows = rows_of(naive=STUDENT)
    of = {"method": "naive", "attribution": "grad_cam", "metric": "point_accuracy"}
    assert value(rows, **of, population="own") == (100.0, 2)
    assert value(rows, **of, population="all") == (50.0, 2)
    # Both networks have the same top class in the first masked image alone.
    assert value(rows, **of, population="common") == (100.0, 1)


def test_similarity_over_all_pairs_compares_maps_of_one_class():
    rows = rows_of(naive=STUDENT)
    of = {"method": "naive", "attribution": "grad_cam", "population": "all"}
    assert value(rows, **of, metric="cosine") == (0.5, 2)
    assert value(rows, **of, metric="l2")[0] == pytest.approx(np.sqrt(2) / 2)


def test_maps_of_two_classes_are_not_compared():
    rows = [row for row in rows_of(naive=STUDENT) if row.get("attribution") == "grad_cam"]
    own = {row["metric"] for row in rows if row["population"] == "own"}
    similarity = {"cosine", "correlation", "l2", "association"}
    assert own & (similarity | {"roc_auc"}) == {"roc_auc"}
    for population in ("common", "all"):
        assert similarity <= {row["metric"] for row in rows if row["population"] == population}


def test_top_1_counts_labelled_images_alone():
    rows = rows_of(naive=STUDENT)
    assert value(rows, method="naive", metric="top1") == (50.0, 2)
    assert value(list(teacher_rows(Teacher(TEACHER, PAIRS), PAIRS, {})), metric="top1") == (100.0, 2)
    assert not [row for row in rows if row["metric"] in ("mean_ap", "sample_ap", "f1")]
    np.testing.assert_array_equal(top1(STUDENT.logits, LABELS), [100.0, 0.0, np.nan, np.nan])


def test_agreement_and_divergence_are_those_of_the_distribution_over_classes():
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(2, 1500, 7))  # more than are taken at once
    expected = entropy(softmax(teacher, axis=1), softmax(student, axis=1), axis=1)
    np.testing.assert_allclose(exclusive_divergence(student, teacher), expected, rtol=1e-10)
    assert (exclusive_divergence(teacher, teacher) == 0).all()
    assert same_top(student, teacher).mean() == 100 * np.mean(student.argmax(1) == teacher.argmax(1))
    rows = rows_of(naive=STUDENT)
    assert value(rows, method="naive", metric="agreement") == (50.0, 4)


def test_baselines_know_nothing_of_classes():
    centre = baseline_scores(PAIRS, 0)["centre"]
    for scores in centre.values():
        np.testing.assert_array_equal(scores[:2], scores[2:])


def test_a_comparison_of_top_1_leaves_out_what_has_no_label():
    generator = np.random.default_rng(1)
    labels = np.where(np.arange(60) < 40, generator.integers(3, size=60), -1)
    given = Pairs(np.tile(np.arange(40, 60), 2), None, np.repeat(MASKS, 10, axis=0), np.tile(np.arange(20), 2))
    pairs = scored_truth(**vars(given), labels=labels)

    def network(right):
        of_network = generator.normal(size=(60, 3)).astype(np.float32)
        chosen = np.arange(60) < right
        of_network[chosen, labels[chosen]] += 100
        maps = generator.random((40, 4, 4)).astype(np.float32)
        return Evidence({"grad_cam": Maps(maps, np.arange(40))}, of_network, {}, None)

    teachers, students = {}, {"naive": {}, "swa": {}}
    for seed in range(3):
        teacher = Teacher(network(40), pairs)
        scored = score_students(teacher, {"naive": network(0), "swa": network(40)}, ("naive", "swa"), pairs)
        teachers[seed] = teacher.scored(pairs)
        for method, of_method in scored.items():
            students[method][seed] = of_method
    rows = list(Comparisons(Truth(pairs.image, labels), 200, 0).rows(teachers, students))
    (comparison,) = [
        row for row in rows if (row["metric"], row["method"], row["reference"]) == ("top1", "swa", "naive")
    ]
    naive = [np.nanmean(network.images["top1"]) for network in students["naive"].values()]
    assert comparison["difference"] == pytest.approx(100 - np.mean(naive))
    assert comparison["p"] < 0.05
    assert not [row for row in rows if row["metric"] in ("mean_ap", "sample_ap", "f1")]
    # Maps of two classes are not compared, neither by their mean nor by a test.
    of_cosine = {row["population"] for row in rows if row["metric"] == "cosine"}
    assert of_cosine == {"common", "all"}
    assert {row["population"] for row in rows if row["metric"] == "roc_auc"} == {"own", "common", "all"}


def test_logits_belong_to_labels_of_their_number():
    assert of_labels(np.zeros((4, 3)), np.zeros((4, 3)))
    assert not of_labels(np.zeros((4, 3)), np.zeros((4, 2)))
    assert of_labels(np.zeros((4, 0)), np.zeros(4))
    assert not of_labels(np.zeros((3, 3)), np.zeros(4))
