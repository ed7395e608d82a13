"""Stage tables: all results in one tidy file, the headline figures, and the tables that people read."""

from pathlib import Path

import pandas as pd

from attribution_preservation.pipeline.run.files import atomic_directory, atomic_file, write_json, write_text
from attribution_preservation.pipeline.run.stage import Stage, run
from attribution_preservation.pipeline.schema.reports import Tables
from attribution_preservation.reporting.deformation import deformation_markdown, deformations
from attribution_preservation.reporting.formats import csv_table, latex_table, markdown_table
from attribution_preservation.reporting.preservation import (
    one_shot_rates,
    preservation_csv,
    preservation_latex,
    preservation_markdown,
    preservations,
)
from attribution_preservation.reporting.probes import AREAS, noise_columns, probe_markdown, probe_table, shares
from attribution_preservation.reporting.results import (
    compressions,
    display_name,
    headline,
    last_levels,
    measured,
    populations,
    read_results,
    result_files,
)
from attribution_preservation.reporting.roar import roar_markdown, roar_table, roars
from attribution_preservation.reporting.significance import (
    PairedTests,
    read_tests,
    significance_markdown,
    significance_table,
)
from attribution_preservation.reporting.tables import plans, summarize
from attribution_preservation.reporting.transfer import METRICS as TRANSFERRED
from attribution_preservation.reporting.transfer import SHOWN, transfer, transfer_csv, transfer_markdown, transferred

_ROBUSTNESS = (
    "Points of sample AP lost to noise in background or objects, and the rank correlation over a network's images of "
    "that loss with the cosine of their maps to the teacher's (negative: images whose maps moved lose more)"
)


def main(stage: Stage) -> str:
    """Write results.csv, metrics.json and the tables; print the one that holds every compression."""
    settings, methods = stage.section("tables", Tables), stage.parameters("evaluate.methods")
    files = result_files(stage.parameters("seed_groups"), stage.parameters("batches"))
    results = read_results([stage.dep(path) for path in files], stage.parameters("profile"))
    tests, seeds = read_tests(stage.dep(Path("analysis/significance.csv"))), results["seed"].nunique()
    words = populations(results)
    csv, metrics, tables = stage.outs
    with atomic_file(csv) as partial:
        results.to_csv(partial, index=False, lineterminator="\n")
    write_json(metrics, headline(results, methods))
    with atomic_directory(tables) as folder:
        for plan in plans(results, methods, settings.iterations):
            rows = results[results["seed"].isin(plan.seeds)]
            for population in words:
                # Tests rest on every seed: a table of fewer would be marked by what it does not show.
                made = tests if len(plan.seeds) == seeds else None
                table = summarize(rows, population, plan.chosen, plan.methods, settings.minimum_pairs, made)
                file = f"{plan.name}_{population}"
                write_text(folder / f"{file}.md", markdown_table(table, plan.title, settings.note))
                write_text(folder / f"{file}.tex", latex_table(table, plan.title, settings.note, file))
                write_text(folder / f"{file}.csv", csv_table(table))
        last = [level for compression in compressions(results) for level in last_levels(results, compression)]
        for population, over in words.items():
            table = significance_table(tests, results, last, methods, population)
            title = f"What differs by more than chance, Grad-CAM, over {over}"
            write_text(folder / f"significance_{population}.md", significance_markdown(table, title, settings.note))
            write_text(folder / f"significance_{population}.csv", table.to_csv(index=False, lineterminator="\n"))
        for table in deformations(results, settings.minimum_pairs):
            write_text(folder / f"{table.name}.md", deformation_markdown(table, settings.note, seeds))
            write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False, lineterminator="\n"))
        rates = one_shot_rates(*(stage.parameters(f"prune_{what}.students") for what in ("weights", "channels")))
        for table in preservations(results, methods, tests, rates, _images(stage)):
            write_text(folder / f"{table.name}.md", preservation_markdown(table, settings.note))
            write_text(folder / f"{table.name}.tex", preservation_latex(table, settings.note))
            write_text(folder / f"{table.name}.csv", preservation_csv(table))
        _write_probes(folder, results, methods, tests, settings.note)
        for level in roars(results):
            retrained = roar_table(results, level, methods, tests)
            text = roar_markdown(retrained, seeds, settings.note)
            write_text(folder / f"roar_{level.student}.md", text)
            write_text(folder / f"roar_{level.student}.csv", retrained.to_csv(index=False, lineterminator="\n"))
        for level, matched, attributions in transferred(results, methods):
            found = {
                (population, metric): transfer(results, level, matched, attributions, metric, population, tests)
                for population in words
                for metric in measured(level.of(results), TRANSFERRED, population)
            }
            file = f"transfer_{level.compression}_{level.student}"
            write_text(folder / f"{file}.csv", transfer_csv(found))
            for population in SHOWN:
                name = f"{display_name(level.compression)} ({level.student.replace('_', ' ')})"
                title = f"Transfer matrix, {name}, over {words[population]}"
                of_population = {metric: table for (over, metric), table in found.items() if over == population}
                text = transfer_markdown(of_population, title, settings.note)
                write_text(folder / f"{file}_{population}.md", text)
    print((tables / "compressions_own.md").read_text(encoding="utf-8"))
    return f"{len(results)} figures in {csv}, headlines in {metrics}, tables in {tables}"


def _images(stage: Stage) -> str:
    """What networks whose classes exclude each other were trained and asked on, in words."""
    if stage.parameters("data.root") is None:
        return "a generated miniature in ImageNet's layout"
    classes = stage.parameters("data.imagenet.classes")
    return "ImageNet" if classes == 1000 else f"{classes} classes of ImageNet"


def _write_probes(folder: Path, results: pd.DataFrame, methods: list[str], tests: PairedTests, note: str) -> None:
    """Tables of what networks made of changed images."""
    decides = "Does a map tell by what its network decides? Areas over shares of "
    decides += f"{', '.join(map(str, shares(results)))} % of the pixels, over"
    for name, columns, population, title in (
        ("faithfulness_common", AREAS, "common", f"{decides} {populations(results)['common']}"),
        ("faithfulness_all", AREAS, "all", f"{decides} {populations(results)['all']}"),
        ("robustness", noise_columns(results), None, _ROBUSTNESS),
    ):
        if not measured(results, [column.metric for column in columns]):
            continue
        table = probe_table(results, methods, columns, population, tests)
        text = probe_markdown(table, columns, title, note, results["seed"].nunique())
        write_text(folder / f"{name}.md", text)
        write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run("tables", main)
