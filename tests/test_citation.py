"""How to cite the software, in the form that GitHub and reference managers read."""

import re
import tomllib

import pytest

from attribution_preservation.storage.yaml_text import read_yaml
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def citation():
    return read_yaml(PROJECT / "CITATION.cff")


def test_it_has_what_the_format_requires(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    for entry in (citation, *citation["references"]):
        assert entry["title"]
        for author in entry["authors"]:
            assert author.keys() in ({"name"}, {"family-names", "given-names"})
    assert citation["message"]


def test_it_is_of_the_version_that_is_installed(citation):
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["title"], citation["version"], citation["license"]) == (
        project["name"], project["version"], project["license"],
    )  # fmt: skip


def test_the_paper_is_the_one_that_readme_names(citation):
    (paper,) = citation["references"]
    readme = " ".join((PROJECT / "README.md").read_text(encoding="utf-8").split())
    names = ", ".join(author["family-names"] for author in paper["authors"])
    assert f'"{paper["title"]}" ({names}, NeurIPS {paper["year"]})' in readme


def test_the_changelog_claims_no_release():
    assert re.findall(r"^## (.*)$", (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M) == ["[Unreleased]"]
