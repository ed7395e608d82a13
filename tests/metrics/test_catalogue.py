"""The catalogue of metrics, against the committed results and the page that lists them."""

import csv
import re

from attribution_preservation.metrics.catalogue import _METRICS, CATALOGUE, at, columns
from attribution_preservation.reporting.results import HEADLINES
from tests.conftest import PROJECT

RESULTS = PROJECT / "reports" / "results.csv"


def recorded():
    with RESULTS.open(encoding="utf-8", newline="") as stream:
        rows = {(row["metric"], bool(row["population"]), bool(row["at"])) for row in csv.DictReader(stream)}
    return {metric: (of_pairs, has_at) for metric, of_pairs, has_at in rows}


def test_every_recorded_metric_is_in_the_catalogue_with_what_it_is_counted_over():
    of_pairs = {metric: of_pairs for metric, (of_pairs, _) in recorded().items()}
    assert {name: CATALOGUE[name].of_pairs for name in of_pairs} == of_pairs
    # Where an image has one class, which the recorded profile's have not.
    assert set(CATALOGUE) - set(of_pairs) == {"top1"}
    assert len(CATALOGUE) == len(_METRICS)  # each name once


def test_a_title_with_a_place_for_a_parameter_is_of_a_metric_that_has_one():
    with_parameter = {metric for metric, (_, has_at) in recorded().items() if has_at}
    assert {name for name, metric in CATALOGUE.items() if "{at}" in metric.title} <= with_parameter


def test_the_page_lists_every_metric():
    text = (PROJECT / "docs" / "results.md").read_text(encoding="utf-8")
    table = text.split("| metric | at | meaning |")[1].split("\n\n")[0]
    listed = [
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    ]
    assert sorted(listed) == sorted(CATALOGUE)


def test_words_and_numbers_are_written_for_people():
    assert CATALOGUE["roc_auc"].label() == CATALOGUE["roc_auc"].heading == "ROC-AUC [%]"
    assert CATALOGUE["roc_auc"].difference == "ROC-AUC [points]"
    assert CATALOGUE["cosine"].label() == "cosine to the teacher's map"
    assert CATALOGUE["cosine"].heading == CATALOGUE["cosine"].difference == "cosine"
    assert CATALOGUE["cka"].label("conv4") == "linear CKA, conv4"
    assert CATALOGUE["macs"].text(21_375_000) == "21.38"
    assert CATALOGUE["parameters"].text(1_234_567.4) == "1,234,567"


def test_what_is_better_is_said_of_what_headlines_compare():
    assert {CATALOGUE[metric].better for metric, _ in HEADLINES} == {"higher"}


def test_a_metric_and_its_parameter_are_told_apart_again():
    assert columns(at("ap_lost", "background/16")) == {"metric": "ap_lost", "at": "background/16"}
    assert columns("cosine") == {"metric": "cosine", "at": None}
