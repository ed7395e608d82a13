"""The summary of some levels as a table: scores with deviations, sizes, and marks."""

import numpy as np
import pandas as pd

from attribution_preservation.metrics.catalogue import CATALOGUE
from attribution_preservation.reporting.captions import averaged_over, marks_explained
from attribution_preservation.reporting.summary import METRICS, SIZES, Summary, SummaryRow, any_significant
from attribution_preservation.reporting.table import Cell, Table, mean_cell, text_cell, without_empty_columns
from attribution_preservation.reporting.titles import Titles


def summary_table(summary: Summary, name: str, title: str, titles: Titles, note: str) -> Table:
    """A row for each network; columns in which nothing stands are left out."""
    several = len({row.level.compression for row in summary.rows if row.level}) > 1
    headings = ["compression", "student", "network", "sparsity [%]", *(CATALOGUE[size].heading for size in SIZES)]
    headings += [*(CATALOGUE[metric].heading for metric in METRICS), "n"]
    grid = without_empty_columns(headings, [_cells(row, several, titles) for row in summary.rows])
    return Table(name, caption(summary, title, note), [grid], _numbers(summary))


def _numbers(summary: Summary) -> pd.DataFrame:
    """Means and deviations."""
    rows = []
    # Which scores of predictions there are depends on the data.
    scored = [metric for metric in METRICS if any(not np.isnan(row.cells[metric].mean) for row in summary.rows)]
    for row in summary.rows:
        figures = {
            f"{metric}_{part}": getattr(row.cells[metric], part) for metric in scored for part in ("mean", "deviation")
        }
        level = row.level
        where = {
            "compression": level.compression if level else None,
            "student": level.student if level else None,
            "iteration": level.iteration if level else None,
            "epoch": level.epoch if level else None,
            "name": row.name,
            "sparsity": row.sparsity,
        }
        rows.append(where | {size: row.sizes.get(size) for size in SIZES} | {"n": row.pairs} | figures)
    return pd.DataFrame(rows).astype({"iteration": "Int64", "epoch": "Int64"})


def caption(table: Summary, title: str, note: str) -> str:
    """The caption: which pairs were counted, and the meaning of the marks."""
    similar = any(not np.isnan(row.cells["cosine"].mean) for row in table.rows)
    text = f"{title}, Grad-CAM. Localisation{' and similarity' if similar else ''} over {table.over}. "
    text += averaged_over(table.seeds)
    text += "; n: mean number of pairs. Bold: best of the methods of one student and iteration. "
    text += marks_explained(table.seeds, any_significant(table.rows))
    if any(row.replaced for row in table.rows):
        text += "‡: localisation and similarity over all pairs, because too few were predicted. "
    text += "MACs and file size are those of dense storage: zeros are multiplied and stored. "
    return text + note


def _cells(row: SummaryRow, several: bool, titles: Titles) -> list[Cell]:
    level = row.level
    cells = [
        text_cell(titles.compression(level.compression) if level and several else ""),
        text_cell(level.student.replace("_", " ") if level else ""),
        text_cell(row.name.replace("_", " ") + ("‡" if row.replaced else "")),
        text_cell("" if row.sparsity is None else f"{100 * row.sparsity:.1f}"),
        *(text_cell(CATALOGUE[size].text(row.sizes[size]) if size in row.sizes else "") for size in SIZES),
    ]
    for metric in METRICS:
        score = row.cells[metric]
        cells.append(mean_cell(score.mean, score.deviation, CATALOGUE[metric].digits, score.best, score.marks))
    return [*cells, text_cell("" if np.isnan(row.pairs) else f"{row.pairs:.0f}")]
