"""Tables and headlines: what is bold, what is marked, what stands in for what."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.matching.variants import MatchingSweep, sweeps_of
from attribution_preservation.reporting.comparison import comparison_panels, draw_comparison
from attribution_preservation.reporting.curves import (
    ORIGIN,
    courses,
    curve_panels,
    curve_table,
    draw_curves,
    draw_origin,
    histories,
)
from attribution_preservation.reporting.heatmaps import HeatmapRow, draw_heatmaps
from attribution_preservation.reporting.panels import SCORES
from attribution_preservation.reporting.results import (
    COLUMNS,
    Level,
    Measure,
    compressions,
    finished,
    headline,
    last_levels,
    levels,
    read_results,
)
from attribution_preservation.reporting.summary import plans, summarize
from attribution_preservation.reporting.summary_table import summary_table
from attribution_preservation.reporting.sweeps import Sweep, draw_sweeps, sweep_panels
from attribution_preservation.reporting.table import csv, latex, markdown
from tests.reporting.conftest import COSINES
from tests.reporting.titles import TITLES

METHODS = ["naive", "ewa", "swa"]
FIRST = Level("prune_weights", "iterative", 1)
CHANNELS = Level("prune_channels", "rate_70", None)


def table_of(results, population="own", chosen=(FIRST,), methods=METHODS):
    return summarize(results, population, list(chosen), methods, 100, TITLES)


def line(table, name):
    (chosen_row,) = [row for row in table.rows if row.name == name]
    return chosen_row


def test_results_have_the_agreed_columns(scores):
    results = scores()
    assert list(results.columns) == COLUMNS
    assert set(results["profile"]) == {"tiny"}


@pytest.mark.parametrize(("folder", "stage"), [("scores", "evaluate"), ("probes", "probe"), ("roar", "roar")])
def test_a_missing_part_says_what_to_run(folder, stage):
    with pytest.raises(UserError, match=rf"results\.csv is missing; run the stage {stage} first"):
        read_results([Path(folder, "nowhere", "results.csv")], "tiny")


def test_what_is_known_of_a_network_bears_its_sparsity(tmp_path):
    network = {
        "compression": "prune_weights",
        "student": "iterative",
        "iteration": 2,
        "method": "swa",
        "seed": 0,
        "value": 1.0,
    }
    pd.DataFrame([{**network, "sparsity": 0.36, "metric": "mean_ap"}]).to_csv(tmp_path / "scores.csv", index=False)
    others = [{**network, "metric": "cka", "at": "conv1"}, {**network, "iteration": 3, "metric": "cka", "at": "conv1"}]
    pd.DataFrame(others).to_csv(tmp_path / "probes.csv", index=False)
    results = read_results([tmp_path / "scores.csv", tmp_path / "probes.csv"], "tiny")
    assert results["sparsity"].fillna(-1).tolist() == [0.36, 0.36, -1]


def test_levels_are_what_differs_in_nothing_but_seed_and_method(scores):
    results = scores()
    assert compressions(results) == ["prune_weights", "prune_channels", "scratch"]
    assert levels(results, "prune_weights") == [FIRST, Level("prune_weights", "iterative", 2)]
    assert last_levels(results, "prune_weights") == [Level("prune_weights", "iterative", 2)]
    assert last_levels(results, "prune_channels") == [CHANNELS]
    assert list(courses(results, "prune_weights")) == ["iterative"]
    assert courses(results, "prune_channels") == {}


def test_cells_are_means_and_sample_deviations_over_seeds(scores):
    cell = line(table_of(scores()), "SWA").cells["cosine"]
    assert cell.mean == pytest.approx(0.91)
    assert cell.deviation == pytest.approx(np.std([0.90, 0.92], ddof=1))


def test_best_and_ahead_are_computed(scores):
    table = table_of(scores())
    cosine = {name: line(table, name).cells["cosine"] for name in ("Naive", "EWA", "SWA")}
    assert [cell.best for cell in cosine.values()] == [False, False, True]
    # Naive 0.82 with deviation 0.028: EWA's 0.84 is within it, SWA's 0.91 beyond.
    assert [cell.ahead for cell in cosine.values()] == [False, False, True]
    assert line(table, "SWA").cells["l2"].best  # the smallest distance
    assert not line(table, "EWA").cells["l2"].best


def test_nothing_is_typed_bold(scores):
    table = table_of(scores(cosines=COSINES | {"naive": [0.95, 0.96]}))
    assert line(table, "Naive").cells["cosine"].best
    assert not line(table, "SWA").cells["cosine"].ahead


def test_too_few_own_pairs_are_replaced_and_marked(scores):
    table = table_of(scores(own_pairs=99))
    for name in ("Naive", "EWA", "SWA"):  # all of them, or they would be compared on different pairs
        assert line(table, name).replaced
        assert line(table, name).pairs == 200
    assert line(table, "SWA").cells["cosine"].mean == pytest.approx(0.61)  # the value over all pairs
    assert "‡" in markdown(summary_table(table, "summary", "A title", TITLES, ""))
    assert "‡" not in markdown(summary_table(table_of(scores()), "summary", "A title", TITLES, ""))


def test_one_table_holds_every_compression(scores):
    results = scores()
    chosen = [level for compression in compressions(results) for level in last_levels(results, compression)]
    table = table_of(results, chosen=chosen)
    names = [(row.level.compression, row.name) for row in table.rows if row.level]
    assert names == [
        *(("prune_weights", name) for name in ("Naive", "EWA", "SWA")),
        *(("prune_channels", name) for name in ("Naive", "EWA", "SWA")),
        ("scratch", "from scratch"),
    ]
    alone = table.rows[-1]
    assert not any(cell.best or cell.ahead for cell in alone.cells.values())  # there is nothing to compare it with
    assert alone.sizes["macs"] == 1234
    text = markdown(summary_table(table, "summary", "Every compression", TITLES, ""))
    assert "| channel pruning | rate 70   | SWA" in text
    assert "MACs [M]" in text


def test_a_table_takes_the_seeds_that_all_of_its_networks_have(scores):
    by_name = {plan.name: plan for plan in plans(scores(), METHODS, [1], TITLES)}
    assert list(by_name) == ["compressions", "prune_weights", "prune_channels", "prune_channels_variants", "scratch"]
    assert by_name["prune_channels"].seeds == [0, 1]
    assert by_name["prune_channels_variants"].seeds == [0]
    assert by_name["prune_channels_variants"].methods == [*METHODS, "sweep_0", "sweep_1"]
    assert [level.iteration for level in by_name["prune_weights"].chosen] == [1, 2]
    assert [level.iteration for level in by_name["compressions"].chosen] == [2, None, None]


def test_nothing_is_ahead_where_a_deviation_is_unknown(scores):
    results = scores()
    results = results[(results["method"] != "naive") | (results["seed"] == 0)]  # Naive with one seed, SWA with two
    assert not line(table_of(results), "SWA").cells["cosine"].ahead


def test_variants_stand_beside_the_methods_with_their_seeds(scores):
    results = scores()
    results = results[results["seed"] == 0]
    table = table_of(results, chosen=[CHANNELS], methods=[*METHODS, "sweep_0", "sweep_1"])
    assert [row.name for row in table.rows[-2:]] == ["sweep_0", "sweep_1"]
    assert line(table, "SWA").cells["cosine"].mean == pytest.approx(0.90)
    assert line(table, "sweep_1").cells["cosine"].best
    text = markdown(summary_table(table, "summary", "Variants", TITLES, ""))
    assert "One seed, no deviation" in text
    assert "†" not in text


def test_the_three_forms_agree(scores):
    table = summary_table(table_of(scores()), "own", "T", TITLES, "A note.")
    as_markdown, printed = markdown(table), latex(table)
    assert "**0.910** ± 0.014†" in as_markdown
    assert "\\textbf{0.910} $\\pm$ 0.014$^\\dagger$" in printed
    assert "A note." in as_markdown
    assert "A note." in printed
    parsed = pd.read_csv(pd.io.common.StringIO(csv(table))).set_index("name")
    assert parsed.loc["SWA", "cosine_mean"] == pytest.approx(0.91)
    assert parsed.loc["SWA", "iteration"] == 1


def test_a_column_that_says_nothing_is_left_out(scores):
    assert "sparsity" in markdown(summary_table(table_of(scores()), "summary", "T", TITLES, ""))
    assert "sparsity" not in markdown(summary_table(table_of(scores(), chosen=[CHANNELS]), "summary", "T", TITLES, ""))


def test_baselines_and_teacher_stand_beside_the_scores(scores):
    names = [row.name for row in table_of(scores()).rows]
    assert names[:3] == ["Teacher", "Centre (baseline)", "Random (baseline)"]


def two_teachers(results):
    """The same with a full network of another name, from which channels were pruned."""
    other = results[results["compression"] == "teacher"].assign(teacher="other")
    channels = results["compression"] == "prune_channels"
    return pd.concat([results.assign(teacher=results["teacher"].mask(channels, "other")), other], ignore_index=True)


def test_baselines_stand_once_below_all_full_networks_where_their_pairs_are_the_same(scores):
    results = two_teachers(scores())
    names = [row.name for row in table_of(results, chosen=(FIRST, CHANNELS)).rows[:5]]
    assert names == ["Teacher (full)", "Teacher (other)", "Centre (baseline)", "Random (baseline)", "Naive"]
    fewer = results["teacher"].eq("other") & results["attribution"].eq("centre") & results["population"].eq("own")
    results.loc[fewer, "n"] = 600
    names = [row.name for row in table_of(results, chosen=(FIRST, CHANNELS)).rows[2:6]]
    assert names == [
        "Centre (baseline), Teacher (full)'s pairs", "Random (baseline), Teacher (full)'s pairs",
        "Centre (baseline), Teacher (other)'s pairs", "Random (baseline), Teacher (other)'s pairs",
    ]  # fmt: skip


def test_a_caption_tells_pairs_of_several_classes_from_top_classes(scores):
    results = scores(own_pairs=99)
    several = markdown(summary_table(table_of(results), "summary", "A title", TITLES, ""))
    assert "Localisation and similarity over pairs that the network of the row itself predicts" in several
    # Where classes exclude each other, maps of a network's own top class are compared with no other network's.
    results["metric"] = results["metric"].replace({"mean_ap": "top1"})
    results = results[~(results["metric"].isin(["cosine", "l2"]) & results["population"].eq("own"))]
    exclusive = markdown(summary_table(table_of(results), "summary", "A title", TITLES, ""))
    # No network has fewer pairs than another, so that nothing stands in for few.
    assert "‡" in several
    assert "‡" not in exclusive
    assert "Localisation over every image, asked about the top class of the network of the row itself" in exclusive
    assert "cosine" not in exclusive.splitlines()[2]
    over_all = markdown(summary_table(table_of(results, "all"), "summary", "A title", TITLES, ""))
    assert "Localisation and similarity over every image, asked about its teacher's top class" in over_all


def test_figures_of_a_population_without_similarity_have_no_panel_of_it(scores, tmp_path):
    results = scores()
    results = results[~(results["metric"].isin(["cosine", "association"]) & results["population"].eq("own"))]
    labels = [panel.label for panel in comparison_panels(results, METHODS, "own", TITLES)]
    assert labels == ["mAP [%]", "ROC-AUC [%]", "point accuracy [%]"]
    draw_comparison(results, METHODS, "own", TITLES, tmp_path / "own.png")
    course = courses(results, "prune_weights")["iterative"]
    of_course = [panel.label for panel in curve_panels(results, course, METHODS, "own", map(Measure, ORIGIN), TITLES)]
    assert of_course == ["decisions that are the teacher's [%]", "KL divergence of predictions [nats]"]
    assert len(curve_panels(results, course, METHODS, "all", map(Measure, ORIGIN), TITLES)) == 4


def test_the_headline_is_the_last_iteration_of_every_student(scores):
    headlines = headline(scores(), METHODS)
    assert headlines["prune_weights"]["iterative"]["iteration"] == 2
    assert headlines["prune_weights"]["iterative"]["swa"]["roc_auc_own"]["mean"] == pytest.approx(91.0)
    assert set(headlines["prune_channels"]["rate_70"]) == set(METHODS)
    assert headlines["scratch"]["half"]["mean_ap"]["mean"] == pytest.approx(90.5)
    assert headlines["teacher"]["full"]["mean_ap"] == {"mean": 99.5, "deviation": pytest.approx(0.707107)}
    assert json.loads(json.dumps(headlines)) == headlines


def test_curves_have_a_column_per_method(scores):
    results = scores()
    course = courses(results, "prune_weights")["iterative"]
    table = curve_table(results, course, METHODS, Measure("cosine"), "all")
    assert table["swa"].tolist() == [pytest.approx(0.61)] * 2
    assert table["swa_deviation"].tolist() == [pytest.approx(np.std([0.6, 0.62], ddof=1))] * 2
    assert list(table.columns)[:3] == ["iteration", "epoch", "sparsity"]


def test_a_sweep_holds_the_compared_method_that_is_one_of_its_points():
    entries = {
        "swa": settings_of("swa", strength=50.0),
        "ewa": settings_of("ewa", strength=10.0),
        "sweep": MatchingSweep(sweep="strength", values=[500.0, 5.0], of=settings_of("swa"), first_seeds=1),
    }
    ((_, _, points),) = sweeps_of(entries, ["naive", "ewa", "swa"])
    assert list(points.items()) == [(5.0, "sweep_5"), (50.0, "swa"), (500.0, "sweep_500")]
    assert Sweep("sweep", "strength", points).logarithmic
    ((_, _, alone),) = sweeps_of({"sweep": entries["sweep"]}, ["swa"])  # where swa itself is not trained
    assert list(alone) == [5.0, 500.0]


def test_points_of_the_sweep_are_means_over_its_own_seeds(scores):
    sweep = Sweep("sweep", "strength", {5.0: "sweep_0", 50.0: "swa", 500.0: "sweep_1"})
    panels, seeds = sweep_panels(scores(), CHANNELS, [sweep], "own")
    assert seeds == 1
    swept, naive = panels[0][3].lines  # of cosines
    assert list(swept.x) == [5.0, 50.0, 500.0]
    assert swept.mean == [pytest.approx(0.7), pytest.approx(0.90), pytest.approx(0.95)]
    assert naive.mean == [pytest.approx(0.80)] * 2


def test_the_comparison_has_a_point_for_every_student_and_method(scores):
    panels = comparison_panels(scores(), METHODS, "own", TITLES)
    lines = {curve.name: curve for curve in panels[3].lines}  # of cosines
    assert list(lines) == ["Naive", "EWA", "SWA", "from scratch"]
    assert lines["SWA"].mean == [pytest.approx(0.91)] * 2
    assert lines["from scratch"].mean == [pytest.approx(0.3)]
    assert [round(x) for x in lines["SWA"].x] == [0, 1]
    assert list(lines["from scratch"].x) == [2.0]
    teacher = panels[1].lines[-1]  # of ROC-AUC
    assert (teacher.name, teacher.mean) == ("Teacher", [95.0, 95.0])


def test_the_comparison_counts_the_pairs_of_the_networks_that_it_draws(scores):
    results = scores()
    drawn = comparison_panels(results, METHODS, "common", TITLES)[1].ticks[1]
    # A variant of one seed, and a baseline on the same pairs: other means over seeds, of networks that are not drawn.
    common = results[results["population"] == "common"]
    others = [common[common["method"] == "swa"].assign(method=name, n=999) for name in ("swa_right", "centre")]
    more = comparison_panels(pd.concat([results, *others], ignore_index=True), METHODS, "common", TITLES)[1].ticks[1]
    assert all(name.endswith(" pairs") for name in drawn)
    assert more == drawn


def test_predictions_stand_beside_maps_along_the_iterations(scores, tmp_path):
    results = scores()
    course = courses(results, "prune_weights")["iterative"]
    agreement, divergence, cosine, association = curve_panels(
        results, course, METHODS, "all", map(Measure, ORIGIN), TITLES
    )
    assert agreement.lines[0].mean.tolist() == [96.5, 96.5]  # 96 and 97, of both seeds
    assert cosine.lines[0].mean.tolist() == pytest.approx([0.52, 0.52])
    # What compares with the teacher has no line of the teacher's own.
    for panel in (agreement, divergence, cosine, association):
        assert [line.name for line in panel.lines] == ["Naive", "EWA", "SWA"]
    draw_origin(results, course, METHODS, "all", TITLES, tmp_path / "origin.png")
    assert (tmp_path / "origin.png").stat().st_size > 10_000


def test_the_curves_are_the_means_by_iteration(scores):
    results = scores()
    panels = curve_panels(
        results, courses(results, "prune_weights")["iterative"], METHODS, "own", map(Measure, SCORES), TITLES
    )
    naive = panels[3].lines[0]
    assert list(naive.x) == [1, 2]
    assert list(naive.mean) == [pytest.approx(0.82)] * 2
    assert panels[3].x_label == "pruned convolution weights [%]"
    assert panels[3].ticks == ([1, 2], ["20", "20"])


def snapshots():
    """Two pruning iterations with one epoch each, just pruned and fine-tuned, and a student of three epochs."""
    for iteration, epoch, cosine in ((1, 0, 0.5), (1, 1, 0.9), (2, 0, 0.4), (2, 1, 0.8)):
        where = {"compression": "prune_weights", "student": "iterative", "iteration": iteration, "epoch": epoch}
        yield {**where, "sparsity": 0.2 * iteration, "value": cosine}
    for epoch in (1, 3):
        yield {"compression": "distill", "student": "half", "epoch": epoch, "value": 0.1 * epoch}


def test_snapshots_of_training_are_in_histories_and_not_in_tables():
    of = {"seed": 0, "method": "naive", "attribution": "grad_cam", "population": "all", "metric": "cosine"}
    results = pd.DataFrame([{**of, **row} for row in snapshots()]).reindex(columns=COLUMNS).assign(teacher="full")
    ends = [Level("prune_weights", "iterative", iteration, 1) for iteration in (1, 2)]
    assert finished(levels(results, "prune_weights")) == ends
    assert courses(results, "prune_weights") == {"iterative": ends}
    assert last_levels(results, "distill") == [Level("distill", "half", None, 3)]
    assert [plan.chosen for plan in plans(results, ["naive"], [1], TITLES)][1] == ends
    # Every epoch takes its share of its iteration: what was just pruned stands where the one before ended.
    history = histories(results, "prune_weights")["iterative"]
    assert len(history) == 4
    cosine = curve_panels(results, history, ["naive"], "all", map(Measure, SCORES), TITLES)[-1]
    assert list(cosine.lines[0].x) == [0, 1, 1, 2]
    assert list(cosine.lines[0].mean) == [0.5, 0.9, 0.4, 0.8]
    assert cosine.ticks == ([1, 2], ["20", "40"])
    by_epoch = curve_panels(
        results, courses(results, "distill")["half"], ["naive"], "all", map(Measure, SCORES), TITLES
    )[-1]
    assert (list(by_epoch.lines[0].x), by_epoch.x_label) == ([1, 3], "epoch")


def test_layers_are_swept_in_the_order_of_the_parameters(scores):
    entries = {
        "swa": settings_of("swa", strength=50.0),
        "layer": MatchingSweep(
            sweep="layers", values=["pool1", "conv2"], of=settings_of("swa", strength=50.0), first_seeds=None
        ),
    }
    ((_, _, points),) = sweeps_of(entries, ["naive", "swa"])
    assert points == {"pool1": "layer_pool1", "conv2": "layer_conv2", "last": "swa"}
    sweep = Sweep("sweep", "layers", {"pool1": "sweep_0", "last": "swa"})
    panels, _ = sweep_panels(scores(), CHANNELS, [sweep], "own")
    assert panels[0][3].ticks == ([0, 1], ["pool1", "last"])
    assert panels[0][3].lines[0].mean == [pytest.approx(0.7), pytest.approx(0.90)]


def test_a_sweep_of_one_value_is_one_point(scores, tmp_path):
    sweep = Sweep("sweep", "strength", {5.0: "sweep_0"})
    panels, _ = sweep_panels(scores(), CHANNELS, [sweep], "own")
    assert panels[0][3].lines[0].mean == [pytest.approx(0.7)]
    draw_sweeps(scores(), CHANNELS, [sweep], "own", TITLES, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_figures_are_the_same_bytes_twice(scores, tmp_path):
    results = scores()
    maps = {"Teacher": np.eye(4, dtype=np.float32), "swa": np.zeros((4, 4), np.float32)}
    row = HeatmapRow("dog", np.full((16, 16, 3), 90, np.uint8), np.tri(16, dtype=bool), maps)
    course = courses(results, "prune_weights")["iterative"]
    sweep = Sweep("sweep", "strength", {5.0: "sweep_0", 50.0: "swa", 500.0: "sweep_1"})
    for name in ("a", "b"):
        draw_curves(results, course, METHODS, "own", TITLES, tmp_path / f"curves-{name}.png")
        draw_comparison(results, METHODS, "own", TITLES, tmp_path / f"comparison-{name}.png")
        draw_sweeps(results, CHANNELS, [sweep], "own", TITLES, tmp_path / f"sweeps-{name}.png")
        draw_heatmaps([row], tmp_path / f"maps-{name}.png")
    for kind in ("curves", "comparison", "sweeps", "maps"):
        assert (tmp_path / f"{kind}-a.png").read_bytes() == (tmp_path / f"{kind}-b.png").read_bytes()
