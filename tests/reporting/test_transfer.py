"""The transfer matrix and the supplement's Tables 1 and 2, with figures worked out by hand."""

import pandas as pd
import pytest

from attribution_preservation.reporting.deformation_table import ATTRIBUTIONS, deformation_table, deformations
from attribution_preservation.reporting.results import COLUMNS, Level
from attribution_preservation.reporting.table import markdown
from attribution_preservation.reporting.transfer import (
    draw_transfer,
    transfer,
    transfer_numbers,
    transfer_table,
    transferred,
)
from attribution_preservation.storage.csv_text import csv_text
from tests.reporting.titles import TITLES

LEVEL = Level("distill", "half", None, 5)
# cosine by matched method and attribution, for two seeds
COSINES = {
    "naive": {"grad_cam": (0.5, 0.7), "lrp": (0.6, 0.6)},
    "swa": {"grad_cam": (0.9, 0.9), "lrp": (0.6, 0.7)},
}

OWN = {"naive": 30, "swa": 34}


def rows(attributions=("grad_cam", "lrp")):
    for seed in (0, 1):
        yield {"compression": "teacher", "seed": seed, "metric": "nonzero_parameters", "value": 1000}
        for population in ("own", "all"):
            for attribution in attributions:
                of = {"compression": "teacher", "seed": seed, "attribution": attribution, "population": population}
                yield {**of, "metric": "roc_auc", "value": 90.0 + seed, "n": 40}
                yield {**of, "metric": "point_accuracy", "value": 70.0, "n": 40}
        for epoch in (1, 5):
            where = {"compression": "distill", "student": "half", "epoch": epoch, "seed": seed}
            for method, of_method in COSINES.items():
                network = {**where, "method": method}
                yield {**network, "metric": "nonzero_parameters", "value": 100}
                for attribution in attributions if epoch == 5 else ("grad_cam",):
                    cosine = of_method.get(attribution, (0.4, 0.4))[seed]
                    for population, count in (("own", OWN[method]), ("common", 20), ("all", 40)):
                        of = {**network, "attribution": attribution, "population": population, "n": count}
                        yield {**of, "metric": "cosine", "value": cosine}
                        yield {**of, "metric": "roc_auc", "value": 100 * cosine}
                        yield {**of, "metric": "point_accuracy", "value": 50.0}
            for attribution in attributions:
                of = {**where, "method": "teacher", "attribution": attribution, "population": "common", "n": 20}
                yield {**of, "metric": "roc_auc", "value": 95.0}
                yield {**of, "method": "centre", "metric": "roc_auc", "value": 60.0 + seed}
            yield {
                **where,
                "attribution": "centre",
                "population": "common",
                "metric": "roc_auc",
                "value": 60.0,
                "n": 20,
            }


def results(**options):
    return pd.DataFrame(rows(**options)).reindex(columns=COLUMNS).assign(teacher="full")


def test_the_last_level_of_a_student_that_was_explained_by_several_methods_has_a_matrix():
    assert list(transferred(results(), ["naive", "ewa", "swa"])) == [(LEVEL, ["naive", "swa"], ["grad_cam", "lrp"])]
    assert list(transferred(results(attributions=("grad_cam",)), ["naive", "swa"])) == []


def test_a_cell_is_mean_and_deviation_over_seeds():
    matrix = transfer(results(), LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "cosine", "all", TITLES)
    assert list(matrix.mean.index) == ["Naive", "SWA"]
    assert matrix.mean.at["Naive", "grad_cam"] == pytest.approx(0.6)
    assert matrix.deviation.at["Naive", "grad_cam"] == pytest.approx(0.02**0.5)
    assert matrix.seeds.to_dict() == {"grad_cam": 2, "lrp": 2}


def test_pairs_are_counted_for_each_row():
    pairs = transfer(results(), LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "roc_auc", "own", TITLES).pairs
    assert pairs["lrp"].to_dict() == {"Teacher": 40, "Naive": 30, "SWA": 34}


def test_a_column_rests_on_the_seeds_that_every_row_has():
    some = results()
    gone = (some["method"] == "swa") & (some["attribution"] == "lrp") & (some["seed"] == 0)
    for missing in (some[~gone], some.assign(value=some["value"].mask(gone))):
        matrix = transfer(missing, LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "cosine", "all", TITLES)
        assert matrix.seeds.to_dict() == {"grad_cam": 2, "lrp": 1}
        assert matrix.mean["lrp"].to_dict() == {"Naive": 0.6, "SWA": 0.7}
        assert matrix.mean.at["Naive", "grad_cam"] == pytest.approx(0.6)
        assert not matrix.ahead["lrp"].any()


def test_ahead_means_by_more_than_the_larger_deviation():
    ahead = transfer(results(), LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "cosine", "all", TITLES).ahead
    assert ahead.at["SWA", "grad_cam"]  # 0.3 against a deviation of 0.141
    assert not ahead.at["SWA", "lrp"]  # 0.05 against 0.071
    assert not ahead.loc["Naive"].any()


def test_the_teacher_is_judged_on_the_same_pairs():
    of_all = transfer(results(), LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "roc_auc", "all", TITLES)
    common = transfer(results(), LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "roc_auc", "common", TITLES)
    assert of_all.mean.at["Teacher", "lrp"] == 90.5
    assert common.mean.at["Teacher", "lrp"] == 95
    assert common.mean.at["Centre (baseline)", "lrp"] == 60.5
    assert not common.ahead.loc[["Teacher", "Centre (baseline)"]].any(axis=None)


def test_one_seed_has_no_deviation_and_nothing_is_ahead():
    one = results()
    matrix = transfer(one[one["seed"] == 0], LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], "cosine", "all", TITLES)
    assert matrix.deviation.isna().all(axis=None)
    assert not matrix.ahead.any(axis=None)


def test_the_matrix_as_text_and_picture(tmp_path):
    matrices = {
        metric: transfer(results(), LEVEL, ["naive", "swa"], ["grad_cam", "lrp"], metric, "all", TITLES)
        for metric in ("cosine", "roc_auc", "point_accuracy")
    }
    text = markdown(transfer_table(matrices, "transfer", "Title", TITLES, "Note."))
    assert "| SWA" in text
    assert "0.90 ± 0.00†" in text
    assert text.count("| n") == 3
    assert "The relevance of LRP begins with the logit" in text
    tidy = pd.read_csv(
        pd.io.common.StringIO(csv_text(transfer_numbers({("all", metric): of for metric, of in matrices.items()})))
    )
    (row,) = tidy[
        (tidy["metric"] == "cosine") & (tidy["matched"] == "Naive") & (tidy["attribution"] == "grad_cam")
    ].to_dict("records")
    assert row["mean"] == pytest.approx(0.6)
    draw_transfer(matrices, "Title", TITLES, tmp_path / "one.png")
    draw_transfer(matrices, "Title", TITLES, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_tables_1_and_2_show_the_published_figures_beside_ours():
    first, second = deformations(results(attributions=ATTRIBUTIONS), 30, TITLES)
    frame = first.frame.set_index("network")
    assert frame.loc["full network", "lrp"] == 90.5
    assert frame.loc["full network", "lrp_published"] == 85.29
    assert frame.loc["distillation", "grad_cam"] == pytest.approx(60)
    assert frame.loc["distillation", "grad_cam_published"] == 78.74
    assert frame.loc["distillation", "parameters"] == 100
    assert second.frame.set_index("network").loc["distillation", "rap_published"] == 56.87
    text = markdown(deformation_table(first, TITLES, "Note.", 2))
    assert "60.0 ± 14.1 (78.74)" in text
    assert "100 (0.29M)" in text


def test_a_method_that_explains_few_pairs_is_judged_on_the_population_of_its_row():
    some = results(attributions=ATTRIBUTIONS)
    capped = some.assign(n=some["n"].where(some["attribution"] != "rap", 5))
    frame = next(deformations(capped, 30, TITLES)).frame.set_index("network")
    assert frame.loc["distillation", "population"] == "own"
    assert (frame.loc["distillation", "rap_n"], frame.loc["distillation", "lrp_n"]) == (5, 30)


def test_tables_1_and_2_name_their_full_networks_where_there_are_several():
    one = results(attributions=ATTRIBUTIONS)
    both = pd.concat([one, one[one["compression"] == "teacher"].assign(teacher="other")], ignore_index=True)
    for frame, names in ((one, ["full network"]), (both, ["full network (full)", "full network (other)"])):
        table = next(deformations(frame, 10, TITLES))
        assert [name for name in table.frame["network"] if "network" in name] == names
    assert table.frame["network"].tolist()[-2:] == ["Centre (baseline) (full)", "Random (baseline) (full)"]


def test_tables_1_and_2_are_of_images_with_several_classes():
    frame = results(attributions=ATTRIBUTIONS)
    top1 = pd.DataFrame([{"compression": "teacher", "teacher": "full", "seed": 0, "metric": "top1", "value": 90.0}])
    assert list(deformations(frame, 10, TITLES))
    assert not list(deformations(pd.concat([frame, top1], ignore_index=True), 10, TITLES))


def test_without_the_four_methods_there_is_no_table_1():
    assert list(deformations(results(), 0, TITLES)) == []


def test_where_few_pairs_are_predicted_tables_1_and_2_are_over_all_pairs_and_say_so():
    # 30 own pairs of students, 40 of the teacher
    table, _ = deformations(results(attributions=ATTRIBUTIONS), 31, TITLES)
    populations = table.frame.set_index("network")["population"]
    assert (populations["full network"], populations["distillation"]) == ("own", "all")
    text = markdown(deformation_table(table, TITLES, "Note.", 2))
    assert "‡: over all pairs" in text
    assert "60.0 ± 14.1‡ (78.74)" in text
    assert "‡" not in markdown(
        deformation_table(next(deformations(results(attributions=ATTRIBUTIONS), 30, TITLES)), TITLES, "Note.", 2)
    )
