"""Who is scored on which pairs."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from attribution_preservation.metrics import scoring
from attribution_preservation.metrics.evidence import Evidence, Maps
from attribution_preservation.metrics.scored_files import read_scored, write_scored
from attribution_preservation.metrics.scored_pairs import LabelPairs
from attribution_preservation.metrics.scoring import (
    Scored,
    Teacher,
    baseline_scores,
    score_students,
    student_rows,
    teacher_rows,
)
from attribution_preservation.storage.identity import Identity

# Three images with one class each; an object in the left half.
MASKS = np.zeros((3, 4, 4), dtype=np.uint8)
MASKS[0, :, :2], MASKS[1, :, :2], MASKS[2, :, :2] = 1, 2, 1
PAIRS = LabelPairs(
    np.array([0, 1, 2]), np.array([0, 1, 0]), MASKS, np.array([0, 1, 2]), np.array([[1, 0], [0, 1], [1, 0]])
)
LEFT, RIGHT = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
LEFT[1, 0], RIGHT[1, 3] = 1, 1


def evidence(points_left, predicts):
    maps = np.stack([LEFT if left else RIGHT for left in points_left])
    logits = np.full((3, 2), -1.0)
    for pair, yes in enumerate(predicts):
        logits[PAIRS.image[pair], PAIRS.inside[pair]] = 1.0 if yes else -1.0
    return Evidence({"grad_cam": Maps(maps, np.arange(len(maps)))}, logits, {"nonzero_parameters": 7}, 0.5)


def rows_of(students, compared=("naive", "swa"), baselines=None):
    return rows_beside(Teacher(TEACHER, PAIRS), students, compared, baselines or {})


def rows_beside(teacher, students, compared, baselines):
    scored = score_students(teacher, students, compared, PAIRS)
    return list(student_rows(teacher, students, scored, PAIRS, baselines))


TEACHER = evidence([True, True, False], [True, True, True])
NAIVE = evidence([True, False, False], [True, False, True])
SWA = evidence([True, True, True], [True, True, False])


def value(rows, **where):
    (row,) = [row for row in rows if all(row.get(key) == wanted for key, wanted in where.items())]
    return row["value"], row["n"]


@pytest.fixture
def restored(tmp_path):
    """What is read of some scores after they were written."""

    def through_a_file(scored):
        write_scored(tmp_path / "scores.safetensors", Identity("teacher", 0), scored)
        return read_scored(tmp_path / "scores.safetensors", "make it again")

    return through_a_file


def test_what_other_stages_found_joins_the_scores_of_a_network(restored):
    scored = Teacher(TEACHER, PAIRS).scored(PAIRS)
    other = Scored(
        np.empty((0, 0)), {"lost": np.ones(3)}, {"own": np.array([1])}, {"own": {"area": np.array([0.5])}}, {}
    )
    joined = restored(scored.joined(restored(other)))
    assert joined.logits.tolist() == TEACHER.logits.tolist()
    assert set(joined.scores) == {"grad_cam", "own"}
    assert joined.scores["own"]["area"].tolist() == [0.5]
    assert joined.members("own")["all"].tolist() == [True]
    assert set(joined.images) == {*scored.images, "lost"}


@pytest.fixture(scope="module")
def rows():
    return rows_of({"naive": NAIVE, "swa": SWA}, baselines=baseline_scores(PAIRS, 0))


@pytest.mark.parametrize(
    ("method", "population", "points", "count"),
    [
        ("naive", "own", 50, 2),  # pairs 0 and 2
        ("naive", "common", 100, 1),  # pair 0 alone is predicted by everyone
        ("naive", "all", 100 / 3, 3),
        ("swa", "own", 100, 2),  # pairs 0 and 1
        ("swa", "common", 100, 1),
        ("swa", "all", 100, 3),
        ("teacher", "common", 100, 1),
    ],
)
def test_populations(rows, method, population, points, count):
    mean_and_count = value(rows, method=method, population=population, metric="point_accuracy")
    assert mean_and_count == (pytest.approx(points), count)


def test_similarity_is_measured_against_the_teacher(rows):
    # Naive agrees on pairs 0 and 2, SWA on 0 and 1; the maps of the third are orthogonal.
    assert value(rows, method="naive", population="all", metric="cosine") == (pytest.approx(2 / 3), 3)
    assert value(rows, method="swa", population="own", metric="cosine") == (pytest.approx(1.0), 2)
    assert value(rows, method="swa", population="all", metric="l2") == (pytest.approx(np.sqrt(2) / 3), 3)


def test_baselines_are_scored_on_the_common_pairs(rows):
    _, count = value(rows, attribution="centre", population="common", metric="roc_auc")
    assert count == 1


def test_a_population_without_pairs_has_no_value_and_says_so():
    blind = evidence([True, True, True], [False, False, False])
    rows = rows_of({"naive": blind})
    assert value(rows, method="naive", population="own", metric="roc_auc") == (None, 0)


def test_maps_of_zeros_are_counted():
    zero = Evidence({"grad_cam": Maps(np.zeros((3, 4, 4), np.float32), np.arange(3))}, TEACHER.logits, {}, None)
    rows = list(teacher_rows(Teacher(zero, PAIRS), PAIRS, {}))
    assert value(rows, population="all", metric="zero_maps") == (3, 3)
    assert value(rows, population="all", metric="roc_auc") == (50, 3)


def test_predictions_are_counted_over_images(rows):
    _, images = value(rows, method="swa", metric="mean_ap")
    assert images == 3


def test_a_variant_is_scored_on_the_common_pairs_of_the_compared_methods():
    blind = evidence([True, True, True], [False, False, False])
    rows = rows_of({"naive": NAIVE, "swa": SWA, "swa_abs": blind})
    assert value(rows, method="swa_abs", population="common", metric="point_accuracy") == (100, 1)
    assert value(rows, method="naive", population="common", metric="point_accuracy") == (100, 1)


def test_a_network_without_a_method_shares_its_pairs_with_the_teacher_alone():
    rows = rows_of({"": NAIVE})
    assert value(rows, method=None, population="common", metric="point_accuracy", attribution="grad_cam") == (50, 2)


def subset(evidence_of_all, chosen, absorbed=None):
    maps = evidence_of_all.maps["grad_cam"]
    chosen_maps = Maps(maps.values[chosen], np.array(chosen), absorbed)
    return Evidence({"lrp": chosen_maps}, evidence_of_all.logits, evidence_of_all.sizes, evidence_of_all.sparsity)


def test_maps_of_some_pairs_are_scored_on_those_alone():
    teacher = Teacher(subset(TEACHER, [1, 2]), PAIRS)
    rows = rows_beside(teacher, {"naive": subset(NAIVE, [1, 2])}, ["naive"], {})
    assert value(rows, method="naive", population="all", metric="roc_auc")[1] == 2
    assert value(rows, method="naive", population="own", metric="point_accuracy") == (0, 1)  # pair 2: points right
    assert value(rows, method="naive", population="all", metric="cosine") == (0.5, 2)  # pair 1 differs, pair 2 does not


def test_baselines_are_scored_on_the_pairs_of_each_method():
    def explained(network):
        few = Maps(network.maps["grad_cam"].values[[1, 2]], np.array([1, 2]))
        return replace(network, maps=network.maps | {"lrp": few})

    blob = {"centre": {"roc_auc": np.array([10.0, 20.0, 60.0])}}
    teacher = Teacher(explained(TEACHER), PAIRS)
    rows = rows_beside(teacher, {"naive": explained(NAIVE)}, ["naive"], blob)
    assert value(rows, method="centre", attribution="lrp", population="all") == (40, 2)
    assert value(rows, method="centre", attribution="lrp", population="common") == (60, 1)  # pair 1 is not predicted
    assert value(rows, method="centre", attribution="grad_cam", population="all") == (30, 3)


def test_a_file_keeps_the_parameter_of_a_metric_whatever_its_letters_are(restored):
    images = {
        name: np.full(2, number, dtype=float) for number, name in enumerate(("ap_lost@object/16", "ap_lost@object/64"))
    }
    scores = {"own": {"insertion_over@random": np.ones(1), "least_score@0.5/a": np.zeros(1)}}
    scored = Scored(np.zeros((2, 3)), images, {"own": np.zeros(1, dtype=int)}, scores, {"all": np.ones(2, dtype=bool)})
    read = restored(scored)
    assert {name: values[0] for name, values in read.images.items()} == {
        "ap_lost@object/16": 0,
        "ap_lost@object/64": 1,
    }
    assert read.scores["own"].keys() == scores["own"].keys()
    assert read.populations.keys() == {"all"}


def test_a_population_whose_pairs_have_no_background_is_counted_as_none():
    # An object that fills its image has no ROC curve: tables tell from n = 0 that nothing was scored.
    rows = list(scoring.mean_rows({"roc_auc": np.full(2, np.nan)}, {"own": np.ones(2, dtype=bool)}))
    assert rows == [{"population": "own", "metric": "roc_auc", "at": None, "value": None, "n": 0}]


def test_the_absorbed_share_is_a_score_of_its_pairs():
    teacher = Teacher(subset(TEACHER, [0, 1], np.array([1.0, 3.0])), PAIRS)
    rows = list(teacher_rows(teacher, PAIRS, {}))
    assert value(rows, attribution="lrp", population="all", metric="absorbed") == (2, 2)


def test_maps_of_other_pairs_than_the_teachers_are_a_mistake():
    teacher = Teacher(subset(TEACHER, [1, 2]), PAIRS)
    with pytest.raises(ValueError, match="explain other pairs"):
        score_students(teacher, {"naive": subset(NAIVE, [0, 2])}, ["naive"], PAIRS)


def test_scores_pair_by_pair_survive_their_file(restored):
    teacher = Teacher(subset(TEACHER, [0, 1], np.array([1.0, 3.0])), PAIRS)
    (student,) = score_students(teacher, {"naive": subset(NAIVE, [0, 1])}, ["naive"], PAIRS).values()
    assert student.scores["lrp"]["cosine"].tolist() == [1, 0]
    assert student.members("lrp")["common"].tolist() == [True, False]
    for scored in (student, teacher.scored(PAIRS)):
        np.testing.assert_equal(asdict(restored(scored)), asdict(scored))


def test_predictions_are_compared_with_the_teachers(rows):
    # TEACHER predicts every pair's class and nothing else, NAIVE all but that of pair 1: 5 of 6 decisions agree.
    assert value(rows, method="naive", metric="agreement") == (pytest.approx(100 * 5 / 6), 3)
    apart = (sigmoid := 1 / (1 + np.exp(-1))) * 1 - (1 - sigmoid) * 1  # logits 1 and -1: KL = p - (1 - p)
    assert value(rows, method="naive", metric="divergence") == (pytest.approx(apart / 6), 3)
    assert value(rows, method="naive", population="all", metric="pair_divergence") == (pytest.approx(apart / 3), 3)
    assert value(rows, method="naive", population="own", metric="pair_divergence") == (0, 2)


def test_maps_that_move_where_predictions_do_are_associated(monkeypatch):
    few = rows_of({"naive": NAIVE})
    assert value(few, method="naive", population="all", metric="association") == (None, 3)  # three pairs say nothing
    monkeypatch.setattr(scoring, "MINIMUM_ASSOCIATED", 3)
    rows = rows_of({"naive": NAIVE, "swa": SWA})
    # NAIVE's map and prediction differ on pair 1 alone; SWA's map differs on pair 2, as its prediction does.
    for method in ("naive", "swa"):
        assert value(rows, method=method, population="all", metric="association") == (pytest.approx(-1), 3)
    # Its map moves on pair 2 and its prediction on pair 1. Ranks of cosine 2.5 2.5 1, of divergence 1.5 3 1.5.
    elsewhere = rows_of({"naive": evidence([True, True, True], [True, False, True])})
    expected = stats.spearmanr([1, 1, 0], [0, 1, 0]).statistic
    assert value(elsewhere, method="naive", population="all", metric="association") == (pytest.approx(expected), 3)
    assert value(elsewhere, method="naive", population="common", metric="association") == (None, 2)
