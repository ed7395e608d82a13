"""Curves of training: logs worked out by hand."""

import math

import pandas as pd
import pytest

from attribution_preservation.reporting.training_curves import training_curves


def log(losses, matching=None):
    """Two phases of two epochs."""
    columns = {"phase": [1, 1, 2, 2], "epoch": [1, 2, 1, 2], "learning_rate": [0.1] * 4, "loss": losses}
    columns |= {"matching": matching} if matching else {}
    return pd.DataFrame(columns | {"mean_ap": [10 * loss for loss in losses]})


@pytest.fixture
def curves():
    matched = [log([5.0, 4.0, 3.0, 2.0], [0.4, 0.3, 0.2, 0.1]), log([7.0, 4.0, 1.0, 0.0], [0.6, 0.3, 0.4, 0.1])]
    return training_curves({"swa": matched, "naive": [log([1.0, 2.0, 3.0, 4.0])]})


def test_a_curve_is_the_mean_over_seeds_of_what_each_method_logged(curves):
    assert curves["loss"]["swa"].tolist() == [6.0, 4.0, 2.0, 1.0]
    assert curves["loss"]["naive"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert curves["matching"]["swa"].tolist() == pytest.approx([0.5, 0.3, 0.3, 0.1])
    assert curves["mean_ap"]["swa"].tolist() == [60.0, 40.0, 20.0, 10.0]


def test_epochs_are_counted_over_all_phases_in_their_order(curves):
    for table in curves.values():
        assert table["step"].tolist() == [1, 2, 3, 4]
        assert list(zip(table["phase"], table["epoch"], strict=True)) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_what_no_run_logged_is_no_curve_and_what_one_method_lacks_is_no_number(curves):
    assert set(curves) == {"loss", "matching", "mean_ap"}
    assert all(list(table) == ["step", "phase", "epoch", "swa", "naive"] for table in curves.values())
    assert all(math.isnan(value) for value in curves["matching"]["naive"])
