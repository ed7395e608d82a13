"""Stage report: all results in one tidy file, the headline figures, and the tables that people read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.provenance.environments import summarized
from attribution_preservation.pipeline.provenance.fingerprint import fingerprint_of
from attribution_preservation.pipeline.run.command import run
from attribution_preservation.pipeline.run.graph import ENVIRONMENTS, Stage
from attribution_preservation.process.environment import environment
from attribution_preservation.process.streams import tell
from attribution_preservation.reporting.curves import courses as tracks
from attribution_preservation.reporting.deformation import deformation_markdown, deformations
from attribution_preservation.reporting.footer import Origin
from attribution_preservation.reporting.formats import csv_table, latex_table, markdown_table
from attribution_preservation.reporting.page.curves import curve_data
from attribution_preservation.reporting.page.explorer import explorer_files
from attribution_preservation.reporting.page.figures import page_figure
from attribution_preservation.reporting.page.headline import headline_sentence
from attribution_preservation.reporting.page.render import Page, page_files, page_html
from attribution_preservation.reporting.page.tables import PageTable, page_table
from attribution_preservation.reporting.preservation import (
    one_shot_rates,
    preservation_csv,
    preservation_latex,
    preservation_markdown,
    preservations,
)
from attribution_preservation.reporting.probes import AREAS, noise_columns, probe_markdown, probe_table, shares
from attribution_preservation.reporting.report_settings import Report
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
from attribution_preservation.reporting.transfer import (
    FOOTERS,
    SHOWN,
    transfer,
    transfer_csv,
    transfer_markdown,
    transferred,
)
from attribution_preservation.reporting.transfer import METRICS as TRANSFERRED
from attribution_preservation.storage.csv_text import csv_text
from attribution_preservation.storage.files import (
    atomic_directory,
    files_below,
    write_json,
    write_text,
)
from stages.explorer import explored

FIRST = ("table_", "compressions_common")  # what the page shows first
_ROBUSTNESS = (
    "Points of sample AP lost to noise in background or objects, and the rank correlation over a network's images of "
    "that loss with the cosine of their maps to the teacher's (negative: images whose maps moved lose more)"
)


def main(stage: Stage) -> str:
    """Write results.csv, metrics.json and the tables; print the one that holds every compression."""
    settings, methods = stage.section("report", Report), stage.parameters("evaluate.methods")
    # What was noticed about the data when it was packed has to stand at every figure.
    notes = [f"{note}." for note in Store(stage.dep(Path("data/dataset"))).notes]
    settings = settings.model_copy(update={"note": " ".join([settings.note, *notes])})
    files = result_files(stage.parameters("seed_groups"), stage.parameters("batches"))
    results = read_results([stage.dep(path) for path in files], stage.parameters("profile"))
    tests, seeds = read_tests(stage.dep(Path("analysis/significance.csv"))), results["seed"].nunique()
    words, origin = populations(results), Origin(stage.instance, fingerprint_of(stage), str(stage.outs[2]))
    csv, metrics, tables, environments, index, beside = stage.outs
    write_text(csv, csv_text(results))
    write_json(metrics, headline(results, methods))
    write_json(environments, summarized({**_environments(stage), stage.instance: environment()}))
    shown: list[PageTable] = []
    with atomic_directory(tables) as folder:

        def write(name: str, text: str, footers: int = 0) -> None:
            write_text(folder / name, origin.signed(name, text))
            if name.endswith(".md"):
                shown.append(page_table(name.removesuffix(".md"), text, footers))

        for plan in plans(results, methods, settings.iterations):
            rows = results[results["seed"].isin(plan.seeds)]
            for population in words:
                # Tests rest on every seed: a table of fewer would be marked by what it does not show.
                made = tests if len(plan.seeds) == seeds else None
                table = summarize(rows, population, plan.chosen, plan.methods, settings.minimum_pairs, made)
                file = f"{plan.name}_{population}"
                write(f"{file}.md", markdown_table(table, plan.title, settings.note))
                write(f"{file}.tex", latex_table(table, plan.title, settings.note, file))
                write(f"{file}.csv", csv_table(table))
        last = [level for compression in compressions(results) for level in last_levels(results, compression)]
        for population, over in words.items():
            table = significance_table(tests, results, last, methods, population)
            title = f"What differs by more than chance, Grad-CAM, over {over}"
            write(f"significance_{population}.md", significance_markdown(table, title, settings.note))
            write(f"significance_{population}.csv", csv_text(table))
        for table in deformations(results, settings.minimum_pairs):
            write(f"{table.name}.md", deformation_markdown(table, settings.note, seeds))
            write(f"{table.name}.csv", csv_text(table.frame))
        rates = one_shot_rates(*(stage.parameters(f"prune_{what}.students") for what in ("weights", "channels")))
        for table in preservations(results, methods, tests, rates, _images(stage)):
            write(f"{table.name}.md", preservation_markdown(table, settings.note))
            write(f"{table.name}.tex", preservation_latex(table, settings.note))
            write(f"{table.name}.csv", preservation_csv(table))
        _write_probes(write, results, methods, tests, settings.note)
        for level in roars(results):
            retrained = roar_table(results, level, methods, tests)
            text = roar_markdown(retrained, seeds, settings.note)
            write(f"roar_{level.student}.md", text)
            write(f"roar_{level.student}.csv", csv_text(retrained))
        for level, matched, attributions in transferred(results, methods):
            found = {
                (population, metric): transfer(results, level, matched, attributions, metric, population, tests)
                for population in words
                for metric in measured(level.of(results), TRANSFERRED, population)
            }
            file = f"transfer_{level.compression}_{level.student}"
            write(f"{file}.csv", transfer_csv(found))
            for population in SHOWN:
                name = f"{display_name(level.compression)} ({level.student.replace('_', ' ')})"
                title = f"Transfer matrix, {name}, over {words[population]}"
                of_population = {metric: table for (over, metric), table in found.items() if over == population}
                text = transfer_markdown(of_population, title, settings.note)
                write(f"{file}_{population}.md", text, len(FOOTERS))
    page = _page(stage, results, methods, tests, settings, shown, replace(origin, folder=str(index.parent)))
    write_text(index, page_html(page))
    with atomic_directory(beside) as folder:
        for name, content in page_files(page).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    tell((tables / "compressions_own.md").read_text(encoding="utf-8"))
    return f"{len(results)} figures in {csv}, headlines in {metrics}, tables in {tables}, the page in {index}"


def _page(
    stage: Stage,
    results: pd.DataFrame,
    methods: list[str],
    tests: PairedTests,
    settings: Report,
    tables: list[PageTable],
    origin: Origin,
) -> Page:
    """The page, of what the tables were made from and of the pictures that lie beside it."""
    courses, images = explored(stage, results, methods, settings.images)
    data, sheets = explorer_files(courses, images)
    along = {
        f"{display_name(compression)}, {student.replace('_', ' ')}": course
        for compression in compressions(results)
        for student, course in tracks(results, compression).items()
    }
    index = stage.outs[4]
    figures = stage.dep(Path("reports/figures"))
    return Page(
        note=settings.note,
        headline=headline_sentence(results, methods, tests),
        tables=sorted(tables, key=lambda table: not table.name.startswith(FIRST)),
        curves=curve_data(results, along, methods, list(populations(results))),
        explorer=data,
        sheets=sheets,
        figures=[
            page_figure(
                f"{figures.name}/{path.name}",
                numbers.read_text(encoding="utf-8") if (numbers := path.with_suffix(".csv")).exists() else None,
                _size(path),
            )
            for path in sorted(figures.glob("*.png"))
        ],
        origin=f"Made by stage {origin.stage}, fingerprint {origin.fingerprint}; this command tells the rest:",
        command=origin.command(index.name),
        run=origin.fingerprint,
    )


def _size(path: Path) -> tuple[int, int]:
    """Width and height of a picture."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError:
        raise UserError(f"{path} is damaged; run dvc repro") from None


def _environments(stage: Stage) -> dict[str, dict[str, Any]]:
    """With what every other instance computed, by its name."""
    folder, found = stage.dep(ENVIRONMENTS), {}
    for path in files_below([folder]) if folder.is_dir() else []:
        name = "@".join(path.relative_to(folder).with_suffix("").parts)
        try:
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(f"{path} is damaged; run dvc repro") from None
    return found


def _images(stage: Stage) -> str:
    """What networks whose classes exclude each other were trained and asked on, in words."""
    if stage.parameters("data.root") is None:
        return "a generated miniature in ImageNet's layout"
    classes = stage.parameters("data.imagenet.classes")
    return "ImageNet" if classes == 1000 else f"{classes} classes of ImageNet"


def _write_probes(
    write: Callable[[str, str], None], results: pd.DataFrame, methods: list[str], tests: PairedTests, note: str
) -> None:
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
        write(f"{name}.md", text)
        write(f"{name}.csv", csv_text(table))


if __name__ == "__main__":
    run("report", main)
