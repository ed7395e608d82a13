"""What a table marks as more than chance, with p-values set by hand."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from attribution_preservation.errors import UserError
from attribution_preservation.reporting.paired_tests import (
    PairedTests,
    comparisons,
    corrected,
    read_tests,
    significance_table,
    significant,
)
from attribution_preservation.reporting.results import Level, compressions, last_levels
from attribution_preservation.reporting.summary import summarize
from attribution_preservation.reporting.summary_table import summary_table
from attribution_preservation.reporting.table import latex, markdown
from attribution_preservation.reporting.transfer import transfer, transfer_table
from tests.reporting.titles import TITLES

METHODS = ["naive", "ewa", "swa"]
WEIGHTS = Level("prune_weights", "iterative", 2)
CHANNELS = Level("prune_channels", "rate_70", None)


def outcomes(cosine, mean_ap=np.nan):
    """Tests of EWA and SWA by level; p of their cosines over common pairs, in the order EWA, SWA."""
    frame = []
    for level, values in cosine.items():
        where = {**vars(level), "seeds": 3}
        figures = {"difference": 0.09, "low": 0.01, "high": 0.17}
        of_pairs = {"attribution": "grad_cam", "population": "common", "metric": "cosine"}
        for method, p in zip(("ewa", "swa"), values, strict=True):
            frame.append({**where, **figures, **of_pairs, "method": method, "reference": "naive", "p": p})
            frame.append(
                {**where, **figures, "metric": "mean_ap", "method": method, "reference": "naive", "p": mean_ap}
            )
        frame.append({**where, **figures, **of_pairs, "method": "naive", "reference": "teacher", "p": 0.0001})
    return PairedTests(pd.DataFrame(frame))


def marked(table, metric="cosine"):
    return [(row.level.compression, row.name) for row in table.rows if row.cells[metric].significant]


def test_holms_correction_as_worked_by_hand():
    # The smallest times 4, the next times 3, ..., never below the one before (Holm 1979).
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "none": float("nan")}
    adjusted = corrected(p)
    assert [adjusted[key] for key in "abcd"] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(adjusted["none"])
    assert significant(p) == {"a", "d"}
    assert significant({}) == set()


def test_the_correction_is_statsmodels():
    p = dict(enumerate(np.random.default_rng(0).uniform(0, 0.1, 40).round(2)))  # with ties
    expected = multipletests(list(p.values()), method="holm")[1]
    assert list(corrected(p).values()) == pytest.approx(list(expected))


def test_a_table_marks_what_survives_the_correction_for_its_own_comparisons(scores):
    results = scores()
    tests = outcomes({WEIGHTS: (0.03, 0.01), CHANNELS: (0.02, 0.2)})
    # Alone 0.01 x 2 survives and then 0.03 does; among four 0.01 x 4 does, and 0.02 x 3 does not.
    assert marked(summarize(results, "common", [WEIGHTS], METHODS, 100, TITLES, tests)) == [
        ("prune_weights", "EWA"),
        ("prune_weights", "SWA"),
    ]
    both = summarize(results, "common", [WEIGHTS, CHANNELS], METHODS, 100, TITLES, tests)
    assert marked(both) == [("prune_weights", "SWA")]
    assert not marked(both, "mean_ap")  # no p: too few seeds


def test_tests_of_another_population_mark_nothing(scores):
    assert not marked(summarize(scores(), "all", [WEIGHTS], METHODS, 100, TITLES, outcomes({WEIGHTS: (0.001, 0.001)})))


def test_metrics_of_predictions_have_no_population(scores):
    tests = outcomes({WEIGHTS: (0.5, 0.5)}, mean_ap=0.001)
    for population in ("own", "common", "all"):
        table = summarize(scores(), population, [WEIGHTS], METHODS, 100, TITLES, tests)
        assert marked(table, "mean_ap") == [("prune_weights", "EWA"), ("prune_weights", "SWA")]


def test_the_mark_is_explained_where_it_stands(scores):
    marked_by = outcomes({WEIGHTS: (0.5, 0.001)})
    summaries = [summarize(scores(), "common", [WEIGHTS], METHODS, 100, TITLES, tests) for tests in (marked_by, None)]
    table, without = (summary_table(summary, "summary", "A title", TITLES, "") for summary in summaries)
    for text in (markdown(table), latex(table)):
        assert "*: differs from Naive, p < 0.05" in text
    assert "0.014†*" in markdown(table)  # SWA's cosine, with its deviation
    assert "differs from" not in markdown(without)


def test_the_matrix_marks_what_survives(scores):
    matrix = transfer(
        scores(), WEIGHTS, METHODS, ["grad_cam"], "cosine", "common", TITLES, outcomes({WEIGHTS: (0.5, 0.001)})
    )
    assert matrix.significant["grad_cam"].to_dict() == {"Naive": False, "EWA": False, "SWA": True}
    assert "†*" in markdown(transfer_table({"cosine": matrix}, "transfer", "A title", TITLES, ""))


def test_every_comparison_has_its_difference_interval_and_p(scores):
    results = scores()
    chosen = [level for compression in compressions(results) for level in last_levels(results, compression)]
    table = comparisons(outcomes({WEIGHTS: (0.03, 0.01)}), results, chosen, METHODS, "common")
    cosine = table[table["metric"] == "cosine"].set_index(["method", "reference"])["corrected"]
    # Naive with the teacher is a family of its own.
    assert cosine.to_dict() == pytest.approx(
        {("naive", "teacher"): 0.0001, ("ewa", "naive"): 0.03, ("swa", "naive"): 0.02}
    )
    text = markdown(significance_table(table, "significance", "A title", TITLES, "A note."))
    assert "| Naive - Teacher" in text
    assert "+0.090 [+0.010, +0.170] p = 0.020*" in text
    assert "p < 0.001*" in text
    assert "nan" not in text


@pytest.mark.parametrize(("seeds", "why"), [(1, "1 seed"), (2, "2 seeds"), (3, "few images")])
def test_a_cell_without_a_test_says_why(scores, seeds, why):
    table = comparisons(outcomes({WEIGHTS: (0.03, np.nan)}), scores(), [WEIGHTS], METHODS, "common")
    table["seeds"] = seeds
    text = markdown(significance_table(table, "significance", "A title", TITLES, "A note."))
    assert f"+0.090 (no test: {why})" in text


def test_without_analysis_there_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="run the stage analysis first"):
        read_tests(tmp_path / "significance.csv")
