"""A table as people and programs read it: one model, and a renderer each for Markdown, LaTeX, CSV and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isnan
from typing import NamedTuple

import pandas as pd

from attribution_preservation.storage.csv_text import csv_text


class Span(NamedTuple):
    """A part of a cell's text."""

    text: str
    bold: bool = False


Cell = tuple[Span, ...]
# Letters that LaTeX writes otherwise.
_LATEX = {"%": "\\%", "_": "\\_", "†": "$^\\dagger$", "‡": "$^\\ddagger$", "±": "$\\pm$"}


def text_cell(text: str) -> Cell:
    """A cell of plain text."""
    return (Span(text),) if text else ()


def mean_cell(
    mean: float, deviation: float = float("nan"), digits: int = 1, bold: bool = False, marks: str = ""
) -> Cell:
    """A cell with a mean, its deviation and marks. It is empty if the mean is NaN, and leaves out a deviation of NaN.

    Args:
        mean, deviation: NaN where there is none.
        digits: decimals.
        bold: of the mean alone.
        marks: what stands behind them.
    """
    if isnan(mean):
        return ()
    behind = "" if isnan(deviation) else f" ± {deviation:.{digits}f}"
    return Span(f"{mean:.{digits}f}", bold), Span(behind + marks)


@dataclass(frozen=True)
class Grid:
    """Rows and columns.

    Attributes:
        columns: headings; the first is that of the rows' names.
        rows: cells, as many as there are columns.
        footers: rows that describe the columns; nobody can rank them among the others.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    footers: Sequence[Sequence[Cell]] = ()


@dataclass(frozen=True)
class Table:
    """The grids that one file of tables has.

    Attributes:
        name: of its files, without suffix.
        caption: what a reader must know.
        grids: one below the other.
        data: the numbers behind them in full precision; None where another file has them.
        labels: how many columns at the left hold text.
    """

    name: str
    caption: str
    grids: Sequence[Grid]
    data: pd.DataFrame | None
    labels: int = 2

    @property
    def title(self) -> str:
        """How it is chosen in a list."""
        return self.name.replace("_", " ")


def without_empty_columns(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Grid:
    """A grid of those columns that hold anything."""
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return Grid([columns[place] for place in kept], [[row[place] for place in kept] for row in rows])


def markdown(table: Table) -> str:
    """Markdown: the caption, then each grid."""
    parts = [table.caption]
    for grid in table.grids:
        texts = [["".join(map(_markdown, cell)) for cell in row] for row in (*grid.rows, *grid.footers)]
        parts.append(pd.DataFrame(texts, columns=grid.columns).to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """LaTeX (booktabs), with caption and label; each grid is a table of its own."""
    parts = []
    for place, grid in enumerate(table.grids):
        texts = [["".join(map(_latex, cell)) for cell in row] for row in (*grid.rows, *grid.footers)]
        frame = pd.DataFrame(texts, columns=[_escaped(column) for column in grid.columns])
        label = f"tab:{table.name}" + (f"-{place + 1}" if place else "")
        align = "l" * table.labels + "r" * (len(grid.columns) - table.labels)
        caption = _escaped(table.caption)
        parts.append(frame.to_latex(index=False, escape=False, caption=caption, label=label, column_format=align))
    return "\n".join(parts)


def csv(table: Table) -> str:
    """CSV of the numbers behind the table."""
    return csv_text(pd.DataFrame() if table.data is None else table.data)


def html(table: Table) -> str:
    """HTML that a script can sort: the caption, then each grid."""
    parts = [f"<p>{_code(escape(table.caption, quote=False))}</p>"]
    label = escape(table.title)
    for grid in table.grids:
        columns = "".join(f'<th scope="col">{escape(column, quote=False)}</th>' for column in grid.columns)
        foot = f"\n<tfoot>\n{_html_rows(grid.footers, 'th')}\n</tfoot>" if grid.footers else ""
        parts.append(
            f'<div class="wide" tabindex="0" role="region" aria-label="Table {label}">\n'
            f"<table><thead><tr>{columns}</tr></thead>\n<tbody>\n{_html_rows(grid.rows, 'td')}\n</tbody>{foot}"
            "</table></div>"
        )
    return "\n".join(parts)


def _markdown(span: Span) -> str:
    return f"**{span.text}**" if span.bold else span.text


def _latex(span: Span) -> str:
    text = _escaped(span.text)
    return f"\\textbf{{{text}}}" if span.bold else text


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _html_rows(rows: Sequence[Sequence[Cell]], first: str) -> str:
    """Rows of cells, the first of which may be the heading of its row."""
    opening = '<th scope="row">' if first == "th" else "<td>"
    return "\n".join(
        f"<tr>{opening}{_html_cell(row[0])}</{first}>{''.join(f'<td>{_html_cell(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )


def _html_cell(cell: Cell) -> str:
    texts = (escape(span.text, quote=False) for span in cell)
    return "".join(f"<strong>{text}</strong>" if span.bold else text for span, text in zip(cell, texts, strict=True))


def _code(text: str) -> str:
    """Text in backticks as code."""
    parts = text.split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
