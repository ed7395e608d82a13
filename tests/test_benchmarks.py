"""The form of a benchmark's report."""

import json

import pytest

from benchmarks.report import Figure, Report

FAST = Figure("step", 1.02, "ratio", "lower", 1.05)
SLOW = Figure("step", 1.07, "ratio", "lower", 1.05)


@pytest.mark.parametrize(
    ("figure", "missed"),
    [
        (FAST, False),
        (SLOW, True),
        (Figure("speed", 3.0, "ratio", "higher", 3.3), True),
        (Figure("speed", 3.5, "ratio", "higher", 3.3), False),
        (Figure("speed", 3.5, "ratio", "higher"), False),
    ],
)
def test_a_target_is_missed_on_its_wrong_side(figure, missed):
    assert figure.missed == missed
    assert ("MISSED" in Report("b", [figure]).text()) == missed


def test_the_json_has_the_agreed_keys(tmp_path):
    Report("matching", [FAST]).write(tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert set(content) == {"benchmark", "device", "versions", "date", "figures"}
    assert content["figures"] == [
        {"name": "step", "value": 1.02, "unit": "ratio", "better": "lower", "target": 1.05, "spread": None}
    ]
