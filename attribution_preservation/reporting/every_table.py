"""Every table of some results, one after the other."""

from collections.abc import Iterator, Mapping

import pandas as pd

from attribution_preservation.reporting.deformation_table import deformation_table, deformations
from attribution_preservation.reporting.paired_tests import PairedTests, comparisons, significance_table
from attribution_preservation.reporting.preservation_table import preservation_table, preservations
from attribution_preservation.reporting.probe_table import AREAS, noise_columns, probe_table, probed, shares
from attribution_preservation.reporting.remove_and_retrain import retrained, roar_table, roars
from attribution_preservation.reporting.report_settings import Report
from attribution_preservation.reporting.results import last_of_all, measured, populations
from attribution_preservation.reporting.summary import plans, summarize
from attribution_preservation.reporting.summary_table import summary_table
from attribution_preservation.reporting.table import Table
from attribution_preservation.reporting.titles import Titles
from attribution_preservation.reporting.transfer import (
    COMPARABLE,
    transfer,
    transfer_numbers,
    transfer_table,
    transferred,
)
from attribution_preservation.reporting.transfer import METRICS as TRANSFERRED

_ROBUSTNESS = (
    "Points of sample AP lost to noise in background or objects, and the rank correlation over a network's images of "
    "that loss with the cosine of their maps to the teacher's (negative: images whose maps moved lose more)"
)


def every_table(
    results: pd.DataFrame,
    methods: list[str],
    tests: PairedTests,
    settings: Report,
    rates: Mapping[tuple[str, str], float],
    data: str,
    titles: Titles,
) -> Iterator[Table]:
    """The tables, in the order in which files are written.

    Args:
        results: tidy results.
        methods: that are compared, in this order.
        tests: of the comparisons.
        settings: which rows there are, and the note of every caption.
        rates: see `preservation_table.preservations`.
        data: what the results are of, in words.
        titles: what methods and compressions are called.
    """
    seeds, note = results["seed"].nunique(), settings.note
    yield from _summaries(results, methods, tests, settings, titles)
    last = last_of_all(results)
    for population, over in populations(results).items():
        title = f"What differs by more than chance, Grad-CAM, over {over}"
        frame = comparisons(tests, results, last, methods, population)
        yield significance_table(frame, f"significance_{population}", title, titles, note)
    for deformation in deformations(results, settings.minimum_pairs, titles):
        yield deformation_table(deformation, titles, note, seeds)
    for preservation in preservations(results, methods, tests, rates, data, titles):
        yield preservation_table(preservation, note)
    yield from _probes(results, methods, tests, titles, note)
    for level in roars(results):
        frame = retrained(results, level, methods, tests, titles)
        yield roar_table(frame, f"roar_{level.student}", seeds, note)
    yield from _transfers(results, methods, tests, titles, note)


def _summaries(
    results: pd.DataFrame, methods: list[str], tests: PairedTests, settings: Report, titles: Titles
) -> Iterator[Table]:
    for plan in plans(results, methods, settings.iterations, titles):
        rows = results[results["seed"].isin(plan.seeds)]
        # Tests rest on every seed: a table of fewer would be marked by what it does not show.
        made = tests if len(plan.seeds) == results["seed"].nunique() else None
        for population in populations(results):
            summary = summarize(rows, population, plan.chosen, plan.methods, settings.minimum_pairs, titles, made)
            yield summary_table(summary, f"{plan.name}_{population}", plan.title, titles, settings.note)


def _probes(
    results: pd.DataFrame, methods: list[str], tests: PairedTests, titles: Titles, note: str
) -> Iterator[Table]:
    """Tables of what networks made of changed images."""
    decides = "Does a map tell by what its network decides? Areas over shares of "
    decides += f"{', '.join(map(str, shares(results)))} % of the pixels, over"
    for name, columns, population, title in (
        ("faithfulness_common", AREAS, "common", f"{decides} {populations(results)['common']}"),
        ("faithfulness_all", AREAS, "all", f"{decides} {populations(results)['all']}"),
        ("robustness", noise_columns(results), None, _ROBUSTNESS),
    ):
        if measured(results, [column.metric for column in columns]):
            frame = probed(results, methods, columns, population, tests)
            yield probe_table(frame, columns, name, title, titles, note, results["seed"].nunique())


def _transfers(
    results: pd.DataFrame, methods: list[str], tests: PairedTests, titles: Titles, note: str
) -> Iterator[Table]:
    words = populations(results)
    for level, matched, attributions in transferred(results, methods):
        matrices = {
            (population, metric): transfer(results, level, matched, attributions, metric, population, titles, tests)
            for population in words
            for metric in measured(level.of(results), TRANSFERRED, population)
        }
        file = f"transfer_{level.compression}_{level.student}"
        yield Table(file, "", [], transfer_numbers(matrices))
        for population in COMPARABLE:
            title = (
                f"Transfer matrix, {titles.compression(level.compression)} ({level.student.replace('_', ' ')}), over "
            )
            of_population = {metric: table for (over, metric), table in matrices.items() if over == population}
            yield transfer_table(of_population, f"{file}_{population}", title + words[population], titles, note)
