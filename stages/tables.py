"""Stage tables: all results in one tidy file, the headline figures, and the tables that people read."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from attribution_preservation.pipeline.run.files import atomic_directory, atomic_file, write_json, write_text
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.reports import Tables
from attribution_preservation.reporting.formats import csv_table, latex_table, markdown_table
from attribution_preservation.reporting.results import (
    Level,
    compressions,
    display_name,
    headline,
    last_levels,
    levels,
    read_results,
)
from attribution_preservation.reporting.tables import POPULATIONS, summarize


def main(stage: Stage) -> str:
    """Write results.csv, metrics.json and the tables; print the one that holds every compression."""
    settings, methods = stage.section("tables", Tables), stage.parameters("evaluate.methods")
    results = read_results(
        stage.dep(Path("scores")),
        stage.parameters("seed_groups"),
        stage.parameters("batches"),
        stage.parameters("profile"),
    )
    csv, metrics, tables = stage.outs
    with atomic_file(csv) as partial:
        results.to_csv(partial, index=False, lineterminator="\n")
    write_json(metrics, headline(results, methods))
    with atomic_directory(tables) as folder:
        for name, title, rows, chosen, shown in _tables(results, settings.iterations, methods):
            for population in POPULATIONS:
                table = summarize(rows, population, chosen, shown, settings.minimum_pairs)
                file, note = f"{name}_{population}", settings.note
                write_text(folder / f"{file}.md", markdown_table(table, title, note))
                write_text(folder / f"{file}.tex", latex_table(table, title, note, file))
                write_text(folder / f"{file}.csv", csv_table(table))
    print((tables / "compressions_own.md").read_text(encoding="utf-8"))
    return f"{len(results)} figures in {csv}, headlines in {metrics}, tables in {tables}"


def _tables(
    results: pd.DataFrame, iterations: list[int], methods: list[str]
) -> Iterator[tuple[str, str, pd.DataFrame, list[Level], list[str]]]:
    """Of every table its name, title, results, levels and methods."""
    last = {compression: last_levels(results, compression) for compression in compressions(results)}
    yield "compressions", "Every compression", results, [level for found in last.values() for level in found], methods
    for compression, found in last.items():
        chosen = [
            level
            for level in levels(results, compression)
            if level in found or (compression == "prune_weights" and level.iteration in iterations)
        ]
        title = display_name(compression)
        yield compression, title[0].upper() + title[1:], results, chosen, methods
        others = [
            method
            for method in results.loc[results["compression"] == compression, "method"].dropna().unique()
            if method not in (*methods, "teacher")
        ]
        if others:
            seeds = results.loc[results["method"].isin(others), "seed"].unique()
            title = f"Variants of matching and sweeps, {display_name(compression)}"
            rows = results[results["seed"].isin(seeds)]
            yield f"{compression}_variants", title, rows, found, [*methods, *others]


if __name__ == "__main__":
    run("tables", main)
