"""A table as markdown, LaTeX or CSV."""

import numpy as np
import pandas as pd

from attribution_preservation.reporting import significance
from attribution_preservation.reporting.results import display_name
from attribution_preservation.reporting.tables import METRICS, SIZES, Cell, Table, TableRow
from attribution_preservation.storage.csv_text import csv_text


def markdown_table(table: Table, title: str, note: str) -> str:
    """Markdown, with its caption above."""
    frame = _frame(table, "**{}**", "†", "‡", " ± ")
    return f"{caption(table, title, note)}\n\n{frame.to_markdown(index=False, disable_numparse=True)}\n"


def latex_table(table: Table, title: str, note: str, label: str) -> str:
    """LaTeX (booktabs), with caption and label."""
    frame = _frame(table, "\\textbf{{{}}}", "$^\\dagger$", "$^\\ddagger$", " $\\pm$ ").map(_escaped)
    frame.columns = [_escaped(column) for column in frame.columns]
    text = _escaped(caption(table, title, note)).replace("†", "$^\\dagger$").replace("‡", "$^\\ddagger$")
    align = "ll" + "r" * (len(frame.columns) - 2)
    return frame.to_latex(index=False, escape=False, caption=text, label=f"tab:{label}", column_format=align)


def csv_table(table: Table) -> str:
    """CSV with means and deviations as numbers."""
    rows = []
    # Which scores of predictions there are depends on the data.
    shown = [metric for metric in METRICS if any(not np.isnan(row.cells[metric].mean) for row in table.rows)]
    for row in table.rows:
        figures = {
            f"{metric}_{part}": getattr(row.cells[metric], part) for metric in shown for part in ("mean", "deviation")
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
    return csv_text(pd.DataFrame(rows).astype({"iteration": "Int64", "epoch": "Int64"}))


def caption(table: Table, title: str, note: str) -> str:
    """What a reader must know: what was counted over what, and what the marks mean."""
    similar = any(not np.isnan(row.cells["cosine"].mean) for row in table.rows)
    text = f"{title}, Grad-CAM. Localisation{' and similarity' if similar else ''} over {table.over}. "
    text += f"Mean ± sample deviation over {table.seeds} seeds" if table.seeds > 1 else "One seed, no deviation"
    text += "; n: mean number of pairs. Bold: best of the methods of one student and iteration. "
    text += "†: ahead of Naive by more than the larger of the two deviations. " if table.seeds > 1 else ""
    if any(cell.significant for row in table.rows for cell in row.cells.values()):
        text += f"{significance.MARK}: differs from Naive, p < {significance.ALPHA} in a paired bootstrap over images "
        text += "and seeds, corrected (Holm) for the comparisons of the column. "
    if any(row.replaced for row in table.rows):
        text += "‡: localisation and similarity over all pairs, because too few were predicted. "
    text += "MACs and file size are those of dense storage: zeros are multiplied and stored. "
    return text + note


def _frame(table: Table, bold: str, ahead: str, replaced: str, between: str) -> pd.DataFrame:
    several = len({row.level.compression for row in table.rows if row.level}) > 1
    rows = [_shown(row, several, bold, ahead, replaced, between) for row in table.rows]
    frame = pd.DataFrame(rows)
    return frame.loc[:, (frame != "").any()]


def _shown(row: TableRow, several: bool, bold: str, ahead: str, replaced: str, between: str) -> dict[str, str]:
    compression = display_name(row.level.compression) if row.level and several else ""
    shown = {
        "compression": compression,
        "student": row.level.student.replace("_", " ") if row.level else "",
        "network": row.name.replace("_", " ") + (replaced if row.replaced else ""),
        "sparsity %": "" if row.sparsity is None else f"{100 * row.sparsity:.1f}",
    }
    for size, (heading, text) in SIZES.items():
        shown[heading] = text(row.sizes[size]) if size in row.sizes else ""
    for metric, (heading, _, digits) in METRICS.items():
        shown[heading] = _text(row.cells[metric], digits, bold, ahead, between)
    return shown | {"n": "" if np.isnan(row.pairs) else f"{row.pairs:.0f}"}


def _escaped(text: str) -> str:
    return text.replace("%", "\\%").replace("_", "\\_")


def _text(cell: Cell, digits: int, bold: str, ahead: str, between: str) -> str:
    if np.isnan(cell.mean):
        return ""
    text = f"{cell.mean:.{digits}f}"
    text = bold.format(text) if cell.best else text
    text += "" if np.isnan(cell.deviation) else f"{between}{cell.deviation:.{digits}f}"
    return text + (ahead if cell.ahead else "") + (significance.MARK if cell.significant else "")
