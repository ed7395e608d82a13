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


def page_table(name: str, markdown: str) -> PageTable:
    """A table as the stage writes it: paragraphs, and tables whose cells hold text, `**bold**` and marks.

    Args:
        name: of its file, without suffix.
        markdown: its text, without a footer.
    """
    parts = []
    for block in markdown.strip().split("\n\n"):
        lines = block.splitlines()
        parts.append(_table(lines, name) if lines[0].startswith("|") else f"<p>{_inline(block)}</p>")
    return PageTable(name, name.replace("_", " "), "\n".join(parts))


def _table(lines: list[str], name: str) -> str:
    heading, *rows = (_cells(line) for line in lines if not set(line) <= set("|:- "))
    # A button in the heading, so that a keyboard reaches it; a script gives it something to do.
    columns = "".join(f'<th scope="col"><button type="button">{_inline(cell)}</button></th>' for cell in heading)
    body = "\n".join(f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
    label = escape(name.replace("_", " "))
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table {label}">\n'
        f"<table><thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", _BOLD.sub(r"<strong>\1</strong>", escape(text, quote=False)))
