"""The page's files: one HTML file and a folder of scripts and sprite sheets. It loads nothing from other hosts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from attribution_preservation.reporting.page.alt_texts import Figure
from attribution_preservation.reporting.table import Table, html

ASSETS = Path(__file__).parent / "assets"
FOLDER = "page"
_SCRIPTS = ("app.js", "explorer.js", "tables.js", "curves.js")


@dataclass(frozen=True)
class Page:
    """Contents of the page.

    Attributes:
        note: what a reader must know about the data.
        headline: a sentence; None where there is none.
        tables: in this order; the first is shown first.
        curves, explorer: data for the scripts.
        sheets: the explorer's pictures by file name.
        figures: pictures of the stage figures.
        origin: what made the page, in words.
        command: that audits it.
        run: fingerprint, by which the page knows the files beside it; empty where they are not compared.
    """

    note: str
    headline: str | None
    tables: Sequence[Table]
    curves: list[dict[str, Any]]
    explorer: dict[str, Any]
    sheets: Mapping[str, bytes]
    figures: Sequence[Figure]
    origin: str
    command: str
    run: str = ""


def page_html(page: Page) -> str:
    """index.html."""
    loader = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, *scripts = ((ASSETS / name).read_text(encoding="utf-8") for name in ("style.css", *_SCRIPTS))
    explorer = bool(page.explorer["images"] and page.explorer["courses"])
    template = loader.get_template("index.html")
    return template.render(
        page=page, explorer=explorer, html=html, folder=FOLDER, style=style, script="\n".join(scripts)
    )


def page_files(page: Page) -> dict[str, bytes]:
    """Files of the page's folder by name: data and the plotting library as scripts, and the sprite sheets.

    A page that is opened as a file can load scripts and pictures, but not JSON.
    """
    data = {"curves": page.curves, "explorer": page.explorer} | ({"run": page.run} if page.run else {})
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return {
        "data.js": f"window.PAGE = {text};\n".encode(),
        # Vega-Lite with all that it needs, as its own packagers bundle it.
        "vega.js": vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode(),
        **{f"images/{name}": content for name, content in page.sheets.items()},
    }
