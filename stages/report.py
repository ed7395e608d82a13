"""Stage report: all results in one tidy file, the headline figures, and the tables that people read."""

import json
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
from attribution_preservation.reporting.every_table import every_table
from attribution_preservation.reporting.footer import Origin
from attribution_preservation.reporting.page.alt_texts import page_figure
from attribution_preservation.reporting.page.curve_data import curve_data
from attribution_preservation.reporting.page.headline import headline_sentence
from attribution_preservation.reporting.page.render import FOLDER, Page, page_files, page_html
from attribution_preservation.reporting.page.sprite_sheets import explorer_files
from attribution_preservation.reporting.paired_tests import PairedTests, read_tests
from attribution_preservation.reporting.preservation_table import one_shot_rates
from attribution_preservation.reporting.report_settings import Report
from attribution_preservation.reporting.results import (
    compressions,
    headline,
    populations,
    read_results,
    result_files,
)
from attribution_preservation.reporting.table import Table, csv, latex, markdown
from attribution_preservation.reporting.titles import TITLES, Titles, read_titles
from attribution_preservation.storage.csv_text import csv_text
from attribution_preservation.storage.files import atomic_directory, files_below, write_json, write_text
from stages.explorer import explored

REPORTS = Path("reports")
FIRST = ("table_", "compressions_common")  # what the page shows first


def main(stage: Stage) -> str:
    """Write results.csv, metrics.json and the tables; print the one that holds every compression."""
    settings, methods = stage.section("report", Report), stage.parameters("evaluate.methods")
    # What was noticed about the data when it was packed has to stand at every figure.
    notes = [f"{note}." for note in Store(stage.dep(Path("data/dataset"))).notes]
    settings = settings.model_copy(update={"note": " ".join([settings.note, *notes])})
    files = result_files(stage.parameters("seed_groups"), stage.parameters("batches"))
    results = read_results([stage.dep(path) for path in files], stage.parameters("profile"))
    titles = read_titles(stage.dep(TITLES))
    tests = read_tests(stage.dep(Path("analysis/significance.csv")))
    rates = one_shot_rates(*(stage.parameters(f"prune_{what}.students") for what in ("weights", "channels")))
    tables = list(every_table(results, methods, tests, settings, rates, _images(stage), titles))
    all_results, metrics = stage.out(REPORTS / "results.csv"), stage.out(REPORTS / "metrics.json")
    folder_of_tables, index = stage.out(REPORTS / "tables"), stage.out(REPORTS / "index.html")
    origin = Origin(stage.instance, fingerprint_of(stage), str(folder_of_tables))
    write_text(all_results, csv_text(results))
    write_json(metrics, headline(results, methods))
    write_json(
        stage.out(REPORTS / "environments.json"), summarized({**_environments(stage), stage.instance: environment()})
    )
    with atomic_directory(folder_of_tables) as folder:
        for table in tables:
            forms = {"md": markdown, "tex": latex} if table.grids else {}
            for ending, form in (forms | ({"csv": csv} if table.data is not None else {})).items():
                name = f"{table.name}.{ending}"
                write_text(folder / name, origin.signed(name, form(table)))
    readable = [table for table in tables if table.grids]
    page = _page(stage, results, methods, tests, settings, readable, titles, replace(origin, folder=str(index.parent)))
    write_text(index, page_html(page))
    with atomic_directory(stage.out(REPORTS / FOLDER)) as folder:
        for name, content in page_files(page).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    tell((folder_of_tables / "compressions_own.md").read_text(encoding="utf-8"))
    return (
        f"{len(results)} figures in {all_results}, headlines in {metrics}, tables in {folder_of_tables}, the page in "
        f"{index}"
    )


def _page(
    stage: Stage,
    results: pd.DataFrame,
    methods: list[str],
    tests: PairedTests,
    settings: Report,
    tables: list[Table],
    titles: Titles,
    origin: Origin,
) -> Page:
    """The page, from the data of the tables and with the figures."""
    courses, images = explored(stage, results, methods, titles, settings.images)
    data, sheets = explorer_files(courses, images)
    along = {
        titles.student(compression, student): course
        for compression in compressions(results)
        for student, course in tracks(results, compression).items()
    }
    figures = stage.dep(Path("reports/figures"))
    return Page(
        note=settings.note,
        headline=headline_sentence(results, methods, tests, titles),
        tables=sorted(tables, key=lambda table: not table.name.startswith(FIRST)),
        curves=curve_data(results, along, methods, list(populations(results)), titles),
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
        command=origin.command("index.html"),
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
    folder, by_instance = stage.dep(ENVIRONMENTS), {}
    for path in files_below([folder]) if folder.is_dir() else []:
        name = "@".join(path.relative_to(folder).with_suffix("").parts)
        try:
            by_instance[name] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(f"{path} is damaged; run dvc repro") from None
    return by_instance


def _images(stage: Stage) -> str:
    """The images of networks whose classes exclude each other, in words."""
    if stage.parameters("data.root") is None:
        return "a generated miniature in ImageNet's layout"
    classes = stage.parameters("data.imagenet.classes")
    return "ImageNet" if classes == 1000 else f"{classes} classes of ImageNet"


if __name__ == "__main__":
    run("report", main)
