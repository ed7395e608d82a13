"""Stage tables: all results in one tidy file, the headline figures, and the tables that people read."""

from pathlib import Path

from attribution_preservation.pipeline.run.files import atomic_directory, atomic_file, write_json, write_text
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.reports import Tables
from attribution_preservation.reporting.results import headline, read_results
from attribution_preservation.reporting.tables import POPULATIONS, csv_table, latex_table, markdown_table, summarize


def main(stage: Stage) -> str:
    """Write results.csv, metrics.json and the tables; print the first table."""
    settings = stage.section("tables", Tables)
    results = read_results(stage.dep(Path("scores")), stage.parameters("seed_groups"), stage.parameters("profile"))
    csv, metrics, tables = stage.outs
    with atomic_file(csv) as partial:
        results.to_csv(partial, index=False, lineterminator="\n")
    write_json(metrics, headline(results))
    with atomic_directory(tables) as folder:
        for population in POPULATIONS:
            table = summarize(results, population, settings.iterations, settings.minimum_pairs)
            name = f"prune_weights_{population}"
            write_text(folder / f"{name}.md", markdown_table(table, settings.note))
            write_text(folder / f"{name}.tex", latex_table(table, settings.note, name))
            write_text(folder / f"{name}.csv", csv_table(table))
    print((tables / "prune_weights_own.md").read_text(encoding="utf-8"))
    return f"{len(results)} figures in {csv}, headlines in {metrics}, tables in {tables}"


if __name__ == "__main__":
    run("tables", main)
