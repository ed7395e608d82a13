"""Tables as text: last bits of sums do not show, and a missing value is what the reader of the file takes for one."""

import io

import pandas as pd
import pytest

from attribution_preservation.storage.csv_text import csv_text


def test_last_bits_of_a_sum_do_not_show():
    assert csv_text(pd.DataFrame({"value": [0.1 + 0.2, 0.3]})) == "value\n0.3\n0.3\n"


@pytest.mark.parametrize("value", [2 / 3, 1e-300 / 7, -12345.678901234, 1e22 / 3, 5e-324])
def test_a_number_keeps_twelve_digits(value):
    read = pd.read_csv(io.StringIO(csv_text(pd.DataFrame({"value": [value]}))))["value"][0]
    assert read == pytest.approx(value, rel=5e-12)


def test_integers_and_words_stay_as_they_are():
    frame = pd.DataFrame({"n": pd.array([123456789012345, None], dtype="Int64"), "name": ["a,b", None]})
    assert csv_text(frame) == 'n,name\n123456789012345,"a,b"\n,\n'
    assert csv_text(frame, missing="nan") == 'n,name\n123456789012345,"a,b"\nnan,nan\n'
