"""Tables and figures of changed images, hidden layers and retrained classifiers, with figures worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from attribution_preservation.reporting.paired_tests import PairedTests
from attribution_preservation.reporting.probe_figures import (
    draw_removal,
    draw_robustness,
    draw_untrained,
    layer_metrics,
    removal_panels,
    removals,
    robustness_panels,
    untrained_panel,
)
from attribution_preservation.reporting.probe_table import AREAS, noise_columns, probe_table, probed
from attribution_preservation.reporting.remove_and_retrain import draw_roar, retrained, roar_panel, roar_table, roars
from attribution_preservation.reporting.results import COLUMNS, Level
from attribution_preservation.reporting.table import markdown
from tests.reporting.titles import TITLES

METHODS = ["naive", "swa"]
LEVEL = Level("distill", "half", None, 5)
AREA = {"naive": (60.0, 64.0), "swa": (70.0, 72.0)}


def untrained(layer):
    flat = layer.startswith("flat_")
    if layer == "floor":
        return {"metric": "untrained_floor"}
    return {"metric": "untrained_flat" if flat else "untrained", "at": layer.removeprefix("flat_")}


def rows():
    for seed in (0, 1):
        teacher = {"compression": "teacher", "seed": seed}
        for order, area in (("own_grad_cam", 80.0), ("random", 20.0)):
            yield {**teacher, "attribution": order, "population": "all", "metric": "insertion_area", "value": area}
        yield {**teacher, "metric": "ap_lost", "at": "background/40", "value": 2.0 + seed}
        for layer, value in (("floor", 0.3), ("head", 0.5), ("flat_head", 7.0), ("conv1", 0.1)):
            yield {**teacher, "attribution": "lrp", **untrained(layer), "value": value + 0.2 * seed}
        yield {**teacher, "attribution": "random", "metric": "roar_f1", "at": "0", "value": 90.0}
        yield {**teacher, "attribution": "random", "metric": "roar_mean_ap", "at": "0", "value": 95.0}
        yield {**teacher, "attribution": "random", "metric": "roar_f1", "at": "50", "value": 70.0 + seed}
        for attribution in ("random", "grad_cam"):
            yield {**teacher, "attribution": attribution, "metric": "roar_mean_ap", "at": "50", "value": 80.0}
        # Two classifiers were retrained for each network: their mean is the network's score.
        for score in (48.0, 52.0):
            yield {**teacher, "attribution": "grad_cam", "metric": "roar_f1", "at": "50", "value": score}
        # The teacher over the pairs that are common to these students.
        same = {"compression": "distill", "student": "half", "epoch": 5, "method": "teacher", "seed": seed}
        same |= {"population": "common", "attribution": "own_grad_cam"}
        yield {**same, "metric": "insertion_area", "value": 85.0}
        for method, area in AREA.items():
            where = {"compression": "distill", "student": "half", "epoch": 5, "method": method, "seed": seed}
            for population in ("common", "all"):
                of = {**where, "attribution": "own_grad_cam", "population": population}
                yield {**of, "metric": "insertion_area", "value": area[seed]}
                yield {**of, "metric": "insertion_over", "at": "random", "value": area[seed] - 20}
                for percent, score in ((20, 90.0), (80, 60.0)):
                    for name in ("least_score", "least_kept", "most_score"):
                        yield {**of, "metric": name, "at": str(percent), "value": score + seed}
                        yield {**of, "attribution": "random", "metric": name, "at": str(percent), "value": 10.0}
                        others = {**of, "attribution": "other_images_grad_cam"}
                        yield {**others, "metric": name, "at": str(percent), "value": 20.0}
            yield {**where, "metric": "ap_lost", "at": "background/40", "value": area[seed] / 10}
            yield {**where, "metric": "cka", "at": "pool1", "value": 0.9}
            cosine = {**where, "attribution": "grad_cam", "population": "all", "metric": "cosine"}
            yield {**cosine, "value": 0.5 + 0.1 * seed}
            yield {**where, "attribution": "grad_cam", "metric": "roar_f1", "at": "50", "value": 60.0}
            yield {**where, "attribution": "grad_cam", "metric": "roar_mean_ap", "at": "50", "value": 70.0}


@pytest.fixture
def results():
    return pd.DataFrame(rows()).reindex(columns=COLUMNS).assign(teacher="full")


def outcome(p, **changes):
    test = {"compression": "distill", "student": "half", "epoch": 5, "iteration": None, "method": "swa"}
    test |= {"reference": "naive", "attribution": "own_grad_cam", "population": "all", "metric": "insertion_area"}
    figures = {"difference": 9.0, "low": 1.0, "high": 17.0, "p": p, "seeds": 3}
    return PairedTests(pd.DataFrame([test | figures | changes]))


def test_a_cell_is_mean_and_deviation_and_marked_by_its_test(results):
    for p, mark in ((0.01, True), (0.2, False)):
        table = probed(results, METHODS, AREAS, "all", outcome(p)).set_index("method")
        assert table.at["swa", "insertion area [%]"] == pytest.approx(71)
        assert table.at["swa", "insertion area [%] deviation"] == pytest.approx(2**0.5)
        assert table.at["swa", "insertion area [%] significant"] == mark
        assert table.at["swa", "insertion area [%] p"] == p
        assert table.at["swa", "insertion area [%] low"] == 1
        assert not table.at["naive", "insertion area [%] significant"]
    assert list(table.index) == ["teacher", "naive", "swa"]
    text = markdown(probe_table(table.reset_index(), AREAS, "areas", "Title", TITLES, "Note.", 2))
    assert "| 71.0 ± 1.4 " in text
    assert "| 80.0 ± 0.0 " in text
    assert "no test)" not in text
    few = probed(results, METHODS, AREAS, "all", outcome(np.nan))
    assert "71.0 ± 1.4 (no test)" in markdown(probe_table(few, AREAS, "areas", "Title", TITLES, "Note.", 2))


def test_a_contrast_is_tested_against_nothing_and_an_area_against_naive(results):
    heading = "insertion over random order [points]"
    against_zero = outcome(0.01, reference="zero", metric="insertion_over", at="random")
    table = probed(results, METHODS, AREAS, "all", against_zero).set_index("method")
    assert table.at["swa", heading] == pytest.approx(51)
    assert table.at["swa", f"{heading} significant"]
    assert not table.at["swa", "insertion area [%] significant"]
    against_naive = outcome(0.01, metric="insertion_over", at="random")
    table = probed(results, METHODS, AREAS, "all", against_naive).set_index("method")
    assert not table.at["swa", f"{heading} significant"]


def test_over_common_pairs_the_teacher_is_asked_about_the_same_ones(results):
    table = probed(results, METHODS, AREAS, "common")
    assert table["method"].tolist() == ["teacher", "naive", "swa"]
    assert table.set_index("method")["insertion area [%]"].tolist() == pytest.approx([85, 62, 71])
    assert "Teacher, same pairs" in markdown(probe_table(table, AREAS, "areas", "Title", TITLES, "Note.", 2))


def test_full_networks_are_named_where_there_are_several(results):
    other = results[results["compression"] == "teacher"].assign(teacher="other")
    both = pd.concat([results, other], ignore_index=True)
    for frame, names in ((results, ["Teacher", "Naive", "SWA"]), (both, ["Teacher (full)", "Teacher (other)"])):
        text = markdown(probe_table(probed(frame, METHODS, AREAS, "all"), AREAS, "areas", "Title", TITLES, "", 2))
        printed = [row.split("|")[3].strip() for row in text.splitlines()[4:]]
        assert printed[: len(names)] == names


def test_noise_has_a_column_for_each_region_and_deviation(results):
    column, of_moved = noise_columns(results)
    assert (column.heading, column.metric, column.at) == ("background, noise 40", "ap_lost", "background/40")
    assert (of_moved.metric, of_moved.at) == ("association_ap_lost", "background/40")
    table = probed(results, METHODS, [column], None).set_index("method")
    assert table[column.heading].tolist() == pytest.approx([2.5, 6.2, 7.1])


def test_pixels_go_by_each_networks_own_map_and_by_chance(results, tmp_path):
    assert removals(results) == [LEVEL]
    score, kept, most = removal_panels(results, LEVEL, METHODS, "common", TITLES)
    for panel in (score, kept, most):
        assert [line.name for line in panel.lines] == [
            "Naive",
            "SWA",
            "Naive, random order",
            "Naive, another image's map",
        ]
        assert [list(line.x) for line in panel.lines] == [[20, 80]] * 4
        assert panel.lines[0].mean == [90.5, 60.5]
        assert [line.mean for line in panel.lines[2:]] == [[10, 10], [20, 20]]
    draw_removal(results, LEVEL, METHODS, "common", TITLES, tmp_path / "removal.png")
    numbers = pd.read_csv(tmp_path / "removal.csv")
    assert len(numbers) == 3 * 4 * 2
    assert numbers["mean"][0] == 90.5


def test_the_sanity_check_goes_from_the_logits_down(results, tmp_path):
    panel = untrained_panel(results, TITLES)
    # What any two maps share comes last; counts of maps without a rank are no layer.
    assert panel.ticks == ([0, 1, 2], ["head", "+ conv1", "another\nimage"])
    assert panel.lines[0].mean == pytest.approx([0.6, 0.2, 0.4])
    draw_untrained(results, TITLES, tmp_path / "untrained.png")
    assert (tmp_path / "untrained.csv").exists()


def test_every_network_is_a_point_of_robustness(results, tmp_path):
    ((panel,),) = robustness_panels(results, METHODS, TITLES)
    naive, swa = panel.lines
    assert list(zip(naive.x, naive.mean, strict=True)) == [(0.5, 6.0), (0.6, 6.4)]
    assert list(swa.mean) == pytest.approx([7.0, 7.2])
    assert not naive.joined
    draw_robustness(results, METHODS, TITLES, tmp_path / "robustness.png")
    assert (tmp_path / "robustness.csv").exists()


def test_hidden_layers_have_a_panel_each_beside_that_of_maps(results):
    assert list(layer_metrics(results)) == [("cka", "pool1"), ("cosine", None)]
    assert layer_metrics(results[~results["metric"].str.startswith("cka")]) == []


def test_every_order_of_removal_starts_at_the_classifier_that_saw_everything(results, tmp_path):
    assert roars(results) == [LEVEL]
    panel = roar_panel(results, LEVEL, METHODS, TITLES)
    curves = {line.name: dict(zip(line.x, line.mean, strict=True)) for line in panel.lines}
    assert list(curves) == ["Full network", "Naive", "SWA", "Random"]  # no classifier saw another image's map here
    assert {scores[0] for scores in curves.values()} == {90.0}
    assert curves["Full network"][50] == pytest.approx(50)  # of 48 and 52
    assert curves["Random"][50] == pytest.approx(70.5)
    # The deviation is over networks, not over the classifiers of one.
    assert panel.lines[0].deviation[1] == 0
    of_swa = outcome(0.01, attribution=None, population=None, metric="roar_f1", at="50", difference=-3.0)
    frame = retrained(results, LEVEL, METHODS, of_swa, TITLES)
    table = frame.set_index(["maps of", "removed [%]"])
    assert table.at[("Full network", 50), "f1"] == pytest.approx(50)
    assert table.at[("SWA", 50), "difference"] == -3
    assert table.at[("SWA", 50), "corrected"] == pytest.approx(0.01)
    assert np.isnan(table.at[("Naive", 50), "p"])
    text = markdown(roar_table(frame, "roar", 2, "Note."))
    assert "| 60.0 ± 0.0* " in text
    assert text.count("*:") == 1
    assert "| 90.0 ± 0.0 " in text
    draw_roar(results, LEVEL, METHODS, TITLES, tmp_path / "roar.png")
    assert (tmp_path / "roar.csv").exists()
