"""Tables and headlines: what is bold, what is marked, what stands in for what."""

import json

import numpy as np
import pandas as pd
import pytest

from attribution_preservation.errors import UserError
from attribution_preservation.reporting.curves import curve_table, draw_curves
from attribution_preservation.reporting.heatmaps import HeatmapRow, draw_heatmaps
from attribution_preservation.reporting.results import COLUMNS, headline, read_results
from attribution_preservation.reporting.tables import csv_table, latex_table, markdown_table, summarize

COSINES = {"naive": [0.80, 0.84], "swa": [0.90, 0.92], "ewa": [0.83, 0.85]}


def rows(cosines=COSINES, own_pairs=150):
    for seed in (0, 1):
        yield {"compression": "teacher", "seed": seed, "metric": "mean_ap", "value": 99.0 + seed, "n": 400}
        for population in ("own", "all"):
            for attribution in ("grad_cam", "centre", "random"):
                where = {"compression": "teacher", "seed": seed, "attribution": attribution, "population": population}
                yield {**where, "metric": "roc_auc", "value": 95.0, "n": 700}
                yield {**where, "metric": "point_accuracy", "value": 70.0, "n": 700}
        for method, values in cosines.items():
            where = {
                "compression": "prune_weights", "method": method, "seed": seed, "iteration": 1, "sparsity": 0.2,
            }  # fmt: skip
            yield {**where, "metric": "mean_ap", "value": 90.0 + seed, "n": 400}
            yield {**where, "metric": "nonzero_parameters", "value": 1234}
            for population, count in (("own", own_pairs), ("common", 90), ("all", 200)):
                where["population"], where["attribution"] = population, "grad_cam"
                offset = {"own": 0.0, "common": 0.01, "all": -0.3}[population]
                yield {**where, "metric": "cosine", "value": values[seed] + offset, "n": count}
                yield {**where, "metric": "l2", "value": 1 - values[seed], "n": count}
                yield {**where, "metric": "roc_auc", "value": 100 * values[seed], "n": count}
                yield {**where, "metric": "point_accuracy", "value": 50.0, "n": count}


@pytest.fixture
def scores(tmp_path):
    def write(**options):
        frame = pd.DataFrame(rows(**options))
        for compression, part in frame.groupby("compression"):
            folder = tmp_path / compression / "all"
            folder.mkdir(parents=True, exist_ok=True)
            part.dropna(axis=1, how="all").to_csv(folder / "results.csv", index=False)
        return read_results(tmp_path, ["all"], "tiny")

    return write


def line(table, name):
    (found,) = [row for row in table.rows if row.name == name]
    return found


def test_results_have_the_agreed_columns(scores):
    results = scores()
    assert list(results.columns) == COLUMNS
    assert set(results["profile"]) == {"tiny"}


def test_a_missing_part_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"results\.csv is missing; run the stage evaluate first"):
        read_results(tmp_path, ["all"], "tiny")


def test_cells_are_means_and_sample_deviations_over_seeds(scores):
    cell = line(summarize(scores(), "own", [1], 100), "SWA").cells["cosine"]
    assert cell.mean == pytest.approx(0.91)
    assert cell.deviation == pytest.approx(np.std([0.90, 0.92], ddof=1))


def test_best_and_ahead_are_computed(scores):
    table = summarize(scores(), "own", [1], 100)
    cosine = {name: line(table, name).cells["cosine"] for name in ("Naive", "EWA", "SWA")}
    assert [cell.best for cell in cosine.values()] == [False, False, True]
    # Naive 0.82 with deviation 0.028: EWA's 0.84 is within it, SWA's 0.91 beyond.
    assert [cell.ahead for cell in cosine.values()] == [False, False, True]
    assert line(table, "SWA").cells["l2"].best  # the smallest distance
    assert not line(table, "EWA").cells["l2"].best


def test_nothing_is_typed_bold(scores):
    swapped = COSINES | {"naive": [0.95, 0.96]}
    table = summarize(scores(cosines=swapped), "own", [1], 100)
    assert line(table, "Naive").cells["cosine"].best
    assert not line(table, "SWA").cells["cosine"].ahead


def test_too_few_own_pairs_are_replaced_and_marked(scores):
    table = summarize(scores(own_pairs=99), "own", [1], 100)
    for name in ("Naive", "EWA", "SWA"):  # all of them, or they would be compared on different pairs
        assert line(table, name).replaced
        assert line(table, name).pairs == 200
    assert line(table, "SWA").cells["cosine"].mean == pytest.approx(0.61)  # the value over all pairs
    assert "‡" in markdown_table(table, "")
    assert "‡" not in markdown_table(summarize(scores(), "own", [1], 100), "")


def test_the_three_forms_agree(scores):
    table = summarize(scores(), "own", [1], 100)
    markdown, latex = markdown_table(table, "A note."), latex_table(table, "A note.", "own")
    assert "**0.910** ± 0.014†" in markdown
    assert "\\textbf{0.910} $\\pm$ 0.014$^\\dagger$" in latex
    assert "A note." in markdown
    assert "A note." in latex
    parsed = pd.read_csv(pd.io.common.StringIO(csv_table(table))).set_index("name")
    assert parsed.loc["SWA", "cosine_mean"] == pytest.approx(0.91)


def test_baselines_and_teacher_stand_beside_the_scores(scores):
    names = [row.name for row in summarize(scores(), "own", [1], 100).rows]
    assert names[:3] == ["Teacher", "Centre (baseline)", "Random (baseline)"]


def test_the_headline_is_the_last_iteration(scores):
    found = headline(scores())
    assert found["prune_weights"]["iteration"] == 1
    assert found["prune_weights"]["swa"]["roc_auc_own"]["mean"] == pytest.approx(91.0)
    assert found["teacher"]["mean_ap"] == {"mean": 99.5, "deviation": pytest.approx(0.707107)}
    assert json.loads(json.dumps(found)) == found


def test_curves_have_a_column_per_method(scores):
    table = curve_table(scores(), "cosine", "all")
    assert table["swa"].tolist() == [pytest.approx(0.61)]
    assert list(table.columns)[:2] == ["iteration", "sparsity"]


def test_figures_are_the_same_bytes_twice(scores, tmp_path):
    results = scores()
    maps = {"Teacher": np.eye(4, dtype=np.float32), "swa": np.zeros((4, 4), np.float32)}
    row = HeatmapRow("dog", np.full((16, 16, 3), 90, np.uint8), np.tri(16, dtype=bool), maps)
    for name in ("a", "b"):
        draw_curves(results, "own", tmp_path / f"curves-{name}.png")
        draw_heatmaps([row], tmp_path / f"maps-{name}.png")
    for kind in ("curves", "maps"):
        assert (tmp_path / f"{kind}-a.png").read_bytes() == (tmp_path / f"{kind}-b.png").read_bytes()
