"""The site is built without a warning, holds every page and every module, and a broken reference would be told."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.models.networks import NETWORKS
from tests.conftest import PROJECT

DOCS = PROJECT / "docs"
PACKAGES = ("attribution", "compression", "data", "matching", "metrics", "models")


def build(docs, out):
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(docs), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "html"
    done = build(DOCS, out)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_in_the_site_and_in_its_contents(site):
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    contents = (site / "index.html").read_text(encoding="utf-8")
    assert {"keep", "extend", "findings"} < pages
    for name in pages:
        assert (site / f"{name}.html").exists()
        assert f'class="toctree-l1"><a class="reference internal" href="{name}.html"' in contents, name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_of_a_package_is_described(package):
    text = (DOCS / "api" / f"{package}.md").read_text(encoding="utf-8")
    modules = [path.stem for path in (PROJECT / "attribution_preservation" / package).glob("*.py")]
    assert re.findall(rf"^\.\. automodule:: attribution_preservation\.{package}\.(\w+)$", text, re.M) == sorted(
        set(modules) - {"__init__"}
    )
    assert f"\n{package}\n" in (DOCS / "api" / "index.md").read_text(encoding="utf-8")


def test_a_function_comes_with_what_its_docstring_says(site):
    text = re.sub(r"<[^>]*>", "", (site / "api" / "matching.html").read_text(encoding="utf-8"))
    assert "M = V(sum over k of alpha_k f_k)" in text
    assert "1/2 |J_s - J_t|_2^2 per image" in text


def test_the_page_of_choices_has_every_entry_and_its_settings(site):
    text = (site / "choices.html").read_text(encoding="utf-8")
    lists = (METHODS, LOSSES, COMPRESSIONS, SOURCES, NETWORKS)
    headings = re.findall(r"<h3><code[^>]*><span class=\"pre\">(\w+)</span></code>", text)
    assert headings == [name for entries in lists for name in entries]
    with_settings = [record for entries in lists for record in entries.values() if getattr(record, "settings", None)]
    assert text.count("<table") == 1 + len(with_settings)


def test_a_link_to_another_file_of_the_project_brings_the_file(site):
    text = (site / "findings.html").read_text(encoding="utf-8")
    (path,) = set(re.findall(r'href="(_downloads/\w+/compressions_own\.md)"', text))
    table = PROJECT / "reports" / "tables" / "compressions_own.md"
    assert (site / path).read_bytes() == table.read_bytes()


@pytest.fixture
def small(tmp_path):
    """A site of one page beside the project's configuration."""
    docs = tmp_path / "project" / "docs"
    docs.mkdir(parents=True)
    shutil.copyfile(DOCS / "conf.py", docs / "conf.py")
    (docs.parent / "README.md").write_text("# About\n")
    (docs.parent / "reports").mkdir()
    (docs / "index.md").write_text(
        "# Page\n\n[README](../README.md), [the folder](../reports), [here](index.md#page)\n\n"
        "```{eval-rst}\n.. automodule:: attribution_preservation.errors\n```\n"
    )
    return docs


def test_references_that_lead_somewhere_are_no_warning(small, tmp_path):
    done = build(small, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("broken", "target"),
    [
        ("[a page](nowhere.md)", "nowhere.md"),
        ("[a heading](index.md#nowhere)", "nowhere"),
        ("[a table](../reports/nowhere.md)", "../reports/nowhere.md"),
        ("![a figure](../reports/nowhere.png)", "nowhere.png"),
        ("```{eval-rst}\n.. automodule:: attribution_preservation.nowhere\n```", "attribution_preservation.nowhere"),
    ],
)
def test_a_broken_reference_makes_the_build_fail(small, tmp_path, broken, target):
    page = small / "index.md"
    page.write_text(f"{page.read_text()}\n{broken}\n")
    done = build(small, tmp_path / "out")
    assert done.returncode != 0
    assert target in done.stderr


@pytest.fixture(scope="module")
def plain():
    spec = importlib.util.spec_from_file_location("conf", DOCS / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sum of |x|_2 * y", r"sum of \|x\|_2 \* y"),
        ("`task_loss`es of `a|b`", r"``task_loss``\ es of ``a|b``"),
        ("    rectifier: V.", r"    rectifier: V\."),
        ("a name_ and a word.", r"a name\_ and a word."),
    ],
)
def test_a_docstring_is_plain_text(plain, line, expected):
    assert plain(line) == expected
