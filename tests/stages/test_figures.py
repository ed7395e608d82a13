"""Which figures there are: everything that is trained for a figure has one."""

from pathlib import Path

import pandas as pd
import pytest

from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from stages.figures import MATCHED, _of_sweeps
from tests.conftest import PROJECT
from tests.reporting.conftest import scores, student  # noqa: F401
from tests.reporting.titles import TITLES

STRENGTHS = {5.0: 0.6, 500.0: 0.7}  # cosine by strength
SHARES = {0.6: 0.8}
SWEEPS = {
    "strength": {"sweep": "strength", "values": list(STRENGTHS), "of": {"maps": "swa"}, "first_seeds": 1},
    "share": {
        "sweep": "dropped_share", "values": list(SHARES), "of": {"maps": "swa", "strength": 50.0}, "first_seeds": 1,
    },
}  # fmt: skip


def figures(matchings):
    """The stage as dvc.yaml declares it, for the default with these entries under each compression."""
    values = read_yaml(PROJECT / "params" / "digits.yaml")
    values["matching"] |= SWEEPS
    for compression in MATCHED:
        values[compression]["matchings"] = ["paper", *matchings.get(compression, [])]
    assert validate(Profile, values)
    declaration = read_yaml(PROJECT / "dvc.yaml")["stages"]["figures"]
    return Stage("figures", {}, declaration, values)


def swept(results, compression, name, sweeps):
    """The results with networks of a sweep, of the first seed."""
    level = {"profile": "tiny", "compression": compression, "student": name, "seed": 0, "teacher": "full"}
    level |= {"iteration": 2, "sparsity": 0.2} if compression == "prune_weights" else {}
    made = [
        row
        for sweep, values in sweeps.items()
        for value, cosine in values.items()
        for row in student({**level, "method": f"{sweep}_{value:g}"}, cosine, 150)
    ]
    return pd.concat([results, pd.DataFrame(made)], ignore_index=True)


STUDENTS = {"prune_weights": "iterative", "prune_channels": "rate_70"}
NAMES = {
    "prune_weights": "sweeps_prune_weights_iterative",
    "prune_channels": "sweeps_rate_70",
    "distill": "sweeps_distill_rate_70",  # a student of that name, too
}


@pytest.fixture
def results(scores):  # noqa: F811
    frame = scores()
    distilled = frame[frame["compression"] == "prune_channels"].assign(compression="distill")
    return pd.concat([frame, distilled], ignore_index=True)


@pytest.mark.parametrize(
    "matchings",
    [
        {},
        *({compression: ["strength"]} for compression in MATCHED),
        {compression: ["strength", "share"] for compression in MATCHED},
        {"prune_weights": ["share"], "distill": ["strength"]},
    ],
    ids=lambda by_compression: "-".join(by_compression) or "none",
)
def test_every_sweep_that_is_trained_is_drawn(results, matchings, tmp_path):
    for compression, names in matchings.items():
        values = {"strength": STRENGTHS, "share": SHARES}
        sweeps = {name: values[name] for name in names}
        results = swept(results, compression, STUDENTS.get(compression, "rate_70"), sweeps)
    draws = list(_of_sweeps(figures(matchings), results, ["naive", "ewa", "swa"], TITLES, tmp_path))
    assert [draw.args[-1] for draw in draws] == [
        tmp_path / f"{NAMES[compression]}_{population}.png"
        for compression in MATCHED
        if compression in matchings
        for population in ("own", "common", "all")
    ]
    for draw in draws[::3]:
        draw()
        path = Path(draw.args[-1])
        assert path.stat().st_size > 10_000
        (compression,) = (name for name in MATCHED if path.stem.startswith(NAMES[name]))
        numbers = pd.read_csv(path.with_suffix(".csv"))
        cosines = numbers[numbers["y"].str.startswith("cosine") & (numbers["line"] == "strength")]
        if "strength" in matchings[compression]:
            # The compared method, which is the sweep's at 50, lies between the swept values.
            means = dict(zip(cosines["position"], cosines["mean"], strict=True))
            assert means == pytest.approx({5.0: 0.6, 50.0: 0.9, 500.0: 0.7})


def test_a_sweep_without_naive_has_no_line_for_it(results, tmp_path):
    results = swept(results[results["method"] != "naive"], "distill", "rate_70", {"strength": STRENGTHS})
    draws = list(_of_sweeps(figures({"distill": ["strength"]}), results, ["ewa", "swa"], TITLES, tmp_path))
    draws[0]()
    numbers = pd.read_csv(tmp_path / "sweeps_distill_rate_70_own.csv")
    assert set(numbers["line"]) == {"strength"}
    assert numbers["mean"].notna().all()
