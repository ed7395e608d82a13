"""How Sphinx makes the site: `sphinx-build -W --keep-going -b html docs docs/_build`."""

import os
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parent))

project = "attribution-preservation"
author = "The attribution-preservation maintainers"
copyright = author
html_title = project
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # as GitHub makes them: links to headings work in both
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
autodoc_preserve_defaults = True
napoleon_attr_annotations = False  # a setting's bounds and patterns stand in its class's signature
napoleon_use_ivar = True  # else each attribute of a dataclass would be described twice


# Signs that reStructuredText reads as markup, and the dot of "K.", in which it sees the head of a numbered list.
_MARKUP = re.compile(r"[\\*|]|_\b|(?<=\b\w)\.(?=\s|$)")


def plain(text: str) -> str:
    """A line of a docstring in reStructuredText; the library's are plain text with `code`, and write norms as |x|_2."""
    code = re.split(r"`([^`]+)`", text)
    code[::2] = [re.sub(_MARKUP, r"\\\g<0>", words) for words in code[::2]]
    code[1::2] = [f"``{words}``" for words in code[1::2]]
    for after in range(2, len(code), 2):
        code[after] = re.sub(r"^(?=\w)", r"\\ ", code[after])  # a letter right behind `code` needs an empty separator
    return "".join(code)


def _escape(app: Sphinx, what: str, name: str, described: object, options: object, lines: list[str]) -> None:
    lines[:] = [plain(line) for line in lines]


def _beside(app: Sphinx, doctree: nodes.document) -> None:
    """Links from a page to the project's other files: a file comes along as a download, a folder's name stays as text.

    On GitHub they are links. MyST, which knows Markdown as pages of the site alone, would say that they lead nowhere; a
    link to what does not exist is left to it.
    """
    page = Path(app.env.doc2path(app.env.docname)).parent
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link.get("reftype") != "myst":
            continue
        target = (page / link["reftarget"]).resolve()
        if link.get("refdomain") == "doc":
            target = target.with_name(f"{target.name}.md")
        if target.is_relative_to(app.srcdir):
            continue
        if target.is_dir():
            link.replace_self(link.children)
        elif target.is_file():
            path = os.path.relpath(target, page)
            link.replace_self(addnodes.download_reference("", "", *link.children, reftarget=path, reftype="myst"))


def _entries(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the entries that params.yaml may choose to the page `choices`, which every build reads anew."""
    if page == "choices":
        from choices import markdown  # here: it imports every entry, and with them torch

        source[0] += markdown()
        app.env.note_reread()


def setup(app: Sphinx) -> None:
    """Escape docstrings before napoleon reads their sections, and find files before Sphinx collects downloads."""
    app.connect("source-read", _entries)
    app.connect("autodoc-process-docstring", _escape, priority=400)
    app.connect("doctree-read", _beside, priority=400)
