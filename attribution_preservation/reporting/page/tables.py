"""Tables of the page: those that are written as Markdown, as HTML that a script can sort."""

import re
from dataclasses import dataclass
from html import escape

_BOLD = re.compile(r"\*\*(.+?)\*\*")
_CODE = re.compile(r"`(.+?)`")


@dataclass(frozen=True)
class PageTable:
    """One file of tables.

    Attributes:
        name: of its file, without suffix.
        title: how it is chosen in a list.
        html: captions and tables.
    """

    name: str
    title: str
    html: str


def page_table(name: str, markdown: str, footers: int = 0) -> PageTable:
    """A table as the stage writes it: paragraphs, and tables whose cells hold text, `**bold**` and marks.

    Args:
        name: of its file, without suffix.
        markdown: its text, without the line of its origin.
        footers: rows at the end of each table that describe its columns; nobody can rank them among the others.
    """
    parts = []
    for block in markdown.strip().split("\n\n"):
        lines = block.splitlines()
        parts.append(_table(lines, name, footers) if lines[0].startswith("|") else f"<p>{_inline(block)}</p>")
    return PageTable(name, name.replace("_", " "), "\n".join(parts))


def _table(lines: list[str], name: str, footers: int) -> str:
    heading, *rows = (_cells(line) for line in lines if not set(line) <= set("|:- "))
    body, foot = rows[: len(rows) - footers], rows[len(rows) - footers :]
    columns = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in heading)
    label = escape(name.replace("_", " "))
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table {label}">\n'
        f"<table><thead><tr>{columns}</tr></thead>\n<tbody>\n{_rows(body, 'td')}\n</tbody>"
        + (f"\n<tfoot>\n{_rows(foot, 'th')}\n</tfoot>" if foot else "")
        + "</table></div>"
    )


def _rows(rows: list[list[str]], first: str) -> str:
    """Rows of cells, the first of which may be the heading of its row."""
    opening = '<th scope="row">' if first == "th" else "<td>"
    return "\n".join(
        f"<tr>{opening}{_inline(row[0])}</{first}>{''.join(f'<td>{_inline(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _BOLD.sub(r"<strong>\1</strong>", escape(text, quote=False)))
