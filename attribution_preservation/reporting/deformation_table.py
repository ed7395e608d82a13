"""Tables 1 and 2 of the supplement: the effect of compression without matching on four attribution methods."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.captions import averaged_over
from attribution_preservation.reporting.results import (
    BASELINES,
    Level,
    exclusive,
    full_networks,
    last_of_all,
    select,
)
from attribution_preservation.reporting.table import Cell, Grid, Table, mean_cell, text_cell
from attribution_preservation.reporting.titles import Titles

ATTRIBUTIONS = ("grad_cam", "excitation_bp", "lrp", "rap")
_PUBLISHED = Path(__file__).parent / "published" / "tables_1_2.csv"
_NAMES = {"prune_channels": "structured pruning", "prune_weights": "unstructured pruning"}
_METRICS = ("roc_auc", "point_accuracy")


@dataclass(frozen=True)
class Deformation:
    """One of the two tables.

    Attributes:
        name: of its files.
        title: begins its caption.
        frame: one row per network: `network`, `student`, `parameters`, and for every attribution method `NAME`
            (mean over seeds), `NAME_deviation`, `NAME_n` (mean number of pairs) and `NAME_published`; `population`:
            `own`, or `all` where some seed's own pairs were too few. Baselines are over the first full network's pairs.
    """

    name: str
    title: str
    frame: pd.DataFrame


def deformations(results: pd.DataFrame, minimum_pairs: int, titles: Titles) -> Iterator[Deformation]:
    """Both tables; nothing where no student was explained by these four methods, or where classes exclude each other.

    Only pairs that a network predicts count for it, and networks were compressed without matching (Naive), as
    published. The published figures are those of VOC. The tables show them next to ours for every data set.

    Args:
        results: tidy results.
        minimum_pairs: where a network has fewer own pairs than this with some seed, all pairs stand in, marked.
        titles: what compressions are called that the paper does not name otherwise.
    """
    published = pd.read_csv(_PUBLISHED)
    explained = [
        level
        for level in last_of_all(results)
        if set(ATTRIBUTIONS) <= set(select(level.of(results), method="naive")["attribution"].dropna())
    ]
    if not explained or exclusive(results):
        return
    for number, metric in enumerate(_METRICS, start=1):
        theirs = published[published["metric"] == metric].set_index("network")
        full = full_networks(results)
        networks: list[tuple[str, Level | None, pd.DataFrame, str]] = [
            ("full network" + (f" ({name})" if len(full) > 1 else ""), None, rows, "teacher")
            for name, rows in full.items()
        ]
        networks += [
            (
                _NAMES.get(level.compression, titles.compression(level.compression)),
                level,
                select(level.of(results), method="naive"),
                level.compression,
            )
            for level in explained
        ]
        frame = pd.DataFrame(
            [
                _row(title, level, rows, metric, theirs, compression, minimum_pairs)
                for title, level, rows, compression in networks
            ]
        )
        baselines = pd.DataFrame(
            _baselines(networks[0][2], metric, frame["population"][0], networks[0][0].removeprefix("full network"))
        )
        frame = pd.concat([frame, baselines], ignore_index=True)
        title = CATALOGUE[metric].title
        title = f"{title[0].upper()}{title[1:]} of four attribution methods, before and after compression"
        yield Deformation(f"table_{number}", title, frame)


def deformation_table(table: Deformation, titles: Titles, note: str, seeds: int) -> Table:
    """Ours with deviations, and the published figure in parentheses."""
    headings = ["network", "student", "parameters", *map(titles.attribution, ATTRIBUTIONS), "n"]
    rows = [
        [
            text_cell(row["network"]),
            text_cell(row["student"]),
            text_cell(_parameters(row["parameters"], row["parameters_published"])),
            *(_cell(row, name) for name in ATTRIBUTIONS),
            text_cell(_counts(row)),
        ]
        for _, row in table.frame.iterrows()
    ]
    caption = f"{table.title}, in percent. Over pairs that the network of the row itself predicts. "
    caption += f"{averaged_over(seeds)}. In parentheses: published for VGG16 on VOC 2012 (Park et al. 2020, Tables 1 "
    caption += "and 2), whose data and networks these figures share only in the profile voc2012; its 0.53M is not the "
    caption += "number of weights left after 16 iterations. Parameters: those that are not 0. "
    caption += (
        "n: mean number of pairs, of each column where they differ: costly methods explain fewer, evenly spaced. "
    )
    if (table.frame["population"] == "all").any():
        caption += "‡: over all pairs, because too few were predicted; where a class is not predicted its logit is "
        caption += "negative, and with it the relevance that LRP and RAP hand out. "
    return Table(table.name, f"{caption}{note}", [Grid(headings, rows)], table.frame)


def _parameters(ours: float, theirs: object) -> str:
    return ("" if pd.isna(ours) else f"{ours:,.0f}") + (f" ({theirs})" if isinstance(theirs, str) else "")


def _row(
    title: str,
    level: Level | None,
    rows: pd.DataFrame,
    metric: str,
    theirs: pd.DataFrame,
    compression: str,
    minimum_pairs: int,
) -> dict[str, object]:
    row: dict[str, object] = {
        "network": title,
        "student": level.student.replace("_", " ") if level else "",
        "parameters": select(rows, metric="nonzero_parameters")["value"].mean(),
        "parameters_published": theirs["parameters"].get(compression),
    }
    # A network predicts too few pairs, or does not; that some method explains but a part of them is another matter.
    own = select(rows, metric=metric, population="own")
    predicted = max(select(own, attribution=name)["n"].min() for name in ATTRIBUTIONS)
    row["population"] = population = "own" if predicted >= minimum_pairs else "all"
    for name in ATTRIBUTIONS:
        figures = select(rows, attribution=name, population=population, metric=metric)
        row[name] = figures["value"].mean()
        row[f"{name}_deviation"] = figures["value"].std(ddof=1)
        row[f"{name}_n"] = figures["n"].astype(float).mean()
        row[f"{name}_published"] = theirs[name].get(compression)
    return row


def _baselines(rows: pd.DataFrame, metric: str, population: str, of_teacher: str) -> Iterator[dict[str, object]]:
    for name, text in BASELINES.items():
        figures = select(rows, attribution=name, population=population, metric=metric)
        row: dict[str, object] = {"network": text + of_teacher, "student": "", "population": population}
        for column in ATTRIBUTIONS:
            row[column] = figures["value"].mean()
            row[f"{column}_deviation"] = figures["value"].std(ddof=1)
            row[f"{column}_n"] = figures["n"].astype(float).mean()
        yield row


def _counts(row: pd.Series) -> str:
    counts = [f"{row[f'{name}_n']:.0f}" for name in ATTRIBUTIONS]
    return counts[0] if len(set(counts)) == 1 else " / ".join(counts)


def _cell(row: pd.Series, name: str) -> Cell:
    behind = "‡" if row["population"] == "all" else ""
    behind += "" if pd.isna(row[f"{name}_published"]) else f" ({row[f'{name}_published']:.2f})"
    return mean_cell(row[name], row[f"{name}_deviation"], marks=behind) or text_cell(behind)
