"""Which networks are compared over which pairs and images, on data whose differences are known."""

import numpy as np
import pytest

from attribution_preservation.metrics import comparisons
from attribution_preservation.metrics.comparisons import Comparisons, Truth
from attribution_preservation.metrics.prediction import f1, mean_ap, sample_ap
from attribution_preservation.metrics.scoring import Scored
from attribution_preservation.metrics.significance import paired_test

IMAGES, CLASSES = 24, 3
GENERATOR = np.random.default_rng(0)
LABELS = np.eye(CLASSES, dtype=np.int64)[np.arange(IMAGES) % CLASSES]
TRUTH = Truth(np.arange(IMAGES), LABELS)
EVERY = np.arange(IMAGES)
SEEDS = (0, 1, 2)


def scored(cosine, common=None, logits=None, attribution="grad_cam"):
    own = np.arange(IMAGES) % 4 > 0
    populations = {"own": own, "all": np.ones(IMAGES, dtype=bool)}
    populations |= {} if common is None else {"common": common}
    logits = GENERATOR.normal(size=(IMAGES, CLASSES)) if logits is None else logits
    return Scored(
        logits,
        {"agreement": np.full(IMAGES, cosine.mean())},
        {attribution: EVERY},
        {attribution: {"cosine": cosine}},
        populations,
    )


def pick(rows, **where):
    (row,) = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return row


@pytest.fixture(scope="module")
def compared():
    common = np.arange(IMAGES) % 2 == 0
    base = {seed: GENERATOR.normal(0.8, 0.05, IMAGES) for seed in SEEDS}
    gain = np.where(common, 0.1, -0.2)[None] + GENERATOR.normal(0, 0.001, (3, IMAGES))
    students = {
        "naive": {seed: scored(base[seed], common) for seed in SEEDS},
        "swa": {seed: scored(base[seed] + gain[seed], common) for seed in SEEDS},
        "variant": {0: scored(base[0], common)},
    }
    teachers = {seed: scored(np.ones(IMAGES)) for seed in SEEDS}
    return list(Comparisons(TRUTH, 200, 0).rows(teachers, students)), students, teachers


def test_every_population_is_compared_on_its_own_pairs(compared):
    rows = compared[0]
    where = {"method": "swa", "reference": "naive", "metric": "cosine", "attribution": "grad_cam"}
    assert pick(rows, **where, population="common")["difference"] == pytest.approx(0.1, abs=0.001)
    assert pick(rows, **where, population="all")["difference"] == pytest.approx(-0.05, abs=0.001)
    # Of every four pairs the first, which is common, is not their own: 1 of 3 gains.
    assert pick(rows, **where, population="own")["difference"] == pytest.approx((0.1 - 0.4) / 3, abs=0.001)
    assert pick(rows, **where, population="common")["p"] < 0.001


def test_predictions_are_compared_over_images(compared):
    rows, students, _ = compared
    for metric, score in (("mean_ap", mean_ap), ("sample_ap", sample_ap), ("f1", f1)):
        expected = np.mean(
            [
                score(students["swa"][seed].logits, LABELS) - score(students["naive"][seed].logits, LABELS)
                for seed in SEEDS
            ]
        )
        row = pick(rows, method="swa", reference="naive", metric=metric)
        assert row["difference"] == pytest.approx(expected)
        assert (row["attribution"], row["population"]) == (None, None)
        assert row["low"] < expected < row["high"]
    by_image = pick(rows, method="swa", reference="naive", metric="agreement")
    assert by_image["difference"] == pytest.approx(-0.05, abs=0.001)


def test_naive_is_compared_with_its_teacher_on_the_students_common_pairs(compared):
    rows, students, _ = compared
    row = pick(rows, method="naive", reference="teacher", metric="cosine", population="common")
    common = students["naive"][0].populations["common"]
    expected = np.mean([students["naive"][seed].scores["grad_cam"]["cosine"][common].mean() - 1 for seed in SEEDS])
    assert row["difference"] == pytest.approx(expected)
    assert not [row for row in rows if row["method"] == "swa" and row["reference"] == "teacher"]


def test_a_variant_of_one_seed_has_a_difference_and_no_test(compared):
    row = pick(compared[0], method="variant", metric="cosine", population="all")
    assert row["difference"] == 0
    assert np.isnan(row["p"])
    assert row["seeds"] == 1


def test_networks_without_a_method_are_compared_with_the_teacher():
    students = {"": {seed: scored(np.full(IMAGES, 0.5)) for seed in SEEDS}}
    teachers = {seed: scored(np.ones(IMAGES)) for seed in SEEDS}
    rows = list(Comparisons(TRUTH, 100, 0).rows(teachers, students))
    assert {(row["method"], row["reference"]) for row in rows} == {("", "teacher")}
    assert pick(rows, metric="cosine", population="all")["difference"] == -0.5


def test_a_method_that_the_reference_was_not_explained_by_is_not_compared():
    students = {
        "naive": {seed: scored(np.zeros(IMAGES)) for seed in SEEDS},
        "swa": {seed: scored(np.ones(IMAGES), attribution="lrp") for seed in SEEDS},
    }
    teachers = {seed: scored(np.ones(IMAGES)) for seed in SEEDS}
    rows = list(Comparisons(TRUTH, 100, 0).rows(teachers, students))
    assert {row["metric"] for row in rows if row["method"] == "swa"} == {"mean_ap", "sample_ap", "f1", "agreement"}


def test_what_is_a_difference_already_is_tested_against_zero():
    def network(gain):
        scores = scored(np.full(IMAGES, 0.9))
        over = GENERATOR.normal(gain, 0.1, IMAGES)
        return scores.joined(Scored(scores.logits, {}, {"own": EVERY}, {"own": {"insertion_over@random": over}}, {}))

    students = {"naive": {seed: network(2.0) for seed in SEEDS}, "swa": {seed: network(0.0) for seed in SEEDS}}
    rows = list(Comparisons(TRUTH, 200, 0).rows({seed: scored(np.ones(IMAGES)) for seed in SEEDS}, students))
    of_zero = [row for row in rows if row["reference"] == "zero"]
    assert {row["metric"] for row in of_zero} == {"insertion_over"}  # a cosine is no difference
    naive = pick(of_zero, method="naive", population="all")
    assert naive["difference"] == pytest.approx(2, abs=0.1)
    assert naive["p"] < 0.001
    assert pick(of_zero, method="swa", population="all")["p"] > 0.05
    against_naive = {"reference": "naive", "metric": "insertion_over", "at": "random"}
    assert pick(rows, method="swa", population="all", **against_naive)["p"] < 0.001


def test_a_seed_whose_own_pairs_have_no_score_is_left_out():
    def network(seed):
        scores = scored(np.full(IMAGES, 0.5))
        scores.scores["grad_cam"]["roc_auc"] = np.full(len(EVERY), 50.0 if seed else np.nan)
        return scores

    students = {method: {seed: network(seed) for seed in SEEDS} for method in ("naive", "swa")}
    rows = list(Comparisons(TRUTH, 100, 0).rows({seed: network(seed) for seed in SEEDS}, students))
    row = pick(rows, method="swa", reference="naive", metric="roc_auc", population="own")
    assert row["seeds"] == len(SEEDS) - 1


def test_images_without_a_figure_do_not_count(monkeypatch):
    counted = {}

    def spy(differences, images, seed):
        counted[differences.shape[1], images] = True
        return paired_test(differences, images, seed)

    monkeypatch.setattr(comparisons, "paired_test", spy)
    masked = np.where(np.arange(IMAGES) < 15, 1.0, np.nan)
    networks = {
        seed: Scored(np.zeros((IMAGES, CLASSES)), {"ap_lost": masked}, {}, {}, {"all": np.ones(IMAGES, dtype=bool)})
        for seed in SEEDS
    }
    list(Comparisons(TRUTH, 100, 0).rows(networks, {"": networks}))
    assert {images for _, images in counted} == {IMAGES, 15}
