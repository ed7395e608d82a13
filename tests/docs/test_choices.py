"""The page of choices has every entry of every list, with every setting, its type and its meaning."""

import importlib.util
import re
from dataclasses import replace
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field

from attribution_preservation.attribution.deep_lift import DEEP_LIFT
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.matching.rectifier import RECTIFIERS
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.settings import Count, Name, Section, Seed, Share, Side, between, distinct
from tests.conftest import PROJECT

DOCS = PROJECT / "docs"
LISTS = {"attribution": METHODS, "matching": LOSSES, "compression": COMPRESSIONS, "data": SOURCES, "models": NETWORKS}
FILES = (
    "attribution/methods.py",
    "matching/losses.py",
    "compression/compressions.py",
    "data/sources.py",
    "models/networks.py",
)


def load():
    spec = importlib.util.spec_from_file_location("choices", DOCS / "choices.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


choices = load()


@pytest.fixture(scope="module")
def page():
    """Text of each entry's section, by the heading of its kind and the entry's word."""
    sections = {}
    for part in re.split(r"^## ", choices.markdown(), flags=re.M)[1:]:
        title = part.splitlines()[0]
        for entry in re.split(r"^### ", part, flags=re.M)[1:]:
            word = re.match(r"`(\w+)`\n", entry)[1]
            assert (title, word) not in sections
            sections[title, word] = entry
    return sections


def table(entry):
    """Cells of an entry's rows: setting, type, default, meaning."""
    lines = [line for line in entry.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in (re.split(r"(?<!\\)\|", f"{line} ")[1:-1] for line in lines)}


def keys(schema, definitions, prefix=""):
    """Keys of a section as its JSON schema has them; NAME is any key of a mapping."""
    for name, value in schema.get("properties", {}).items():
        yield f"{prefix}{name}"
        for form in value.get("anyOf", [value]):
            path = f"{prefix}{name}."
            if isinstance(form.get("additionalProperties"), dict):
                form, path = form["additionalProperties"], f"{path}NAME."
            if form.get("patternProperties"):
                (form,), path = form["patternProperties"].values(), f"{path}NAME."
            if "$ref" in form:
                yield from keys(definitions[form["$ref"].split("/")[-1]], definitions, path)


def keys_of(section):
    schema = section.model_json_schema()
    return set(keys(schema, schema.get("$defs", {})))


def test_every_list_is_a_kind():
    assert {kind.package: kind.entries for kind in choices.KINDS} == LISTS


def test_every_entry_has_a_section_with_its_title(page):
    expected = {(kind.title, name): record.title for kind in choices.KINDS for name, record in kind.entries.items()}
    assert set(page) == set(expected)
    for section, title in expected.items():
        assert f"\n**{title}**. " in page[section]


@pytest.mark.parametrize("package", LISTS)
def test_every_setting_has_a_row_with_a_type_and_a_meaning(page, package):
    (kind,) = [kind for kind in choices.KINDS if kind.package == package]
    for name, record in kind.entries.items():
        rows = {key.strip(" `"): cells for key, cells in table(page[kind.title, name]).items()}
        assert set(rows) == (keys_of(settings) if (settings := getattr(record, "settings", None)) else set()), name
        for key, cells in rows.items():
            assert len(cells) == 3, (name, key)
            assert all(cell.strip() for cell in cells), (name, key)


def test_networks_are_described(page):
    assert "`init: imagenet`" in page["Networks", "vgg16_bn"]
    assert "`hidden: [4096, 4096]`" in page["Networks", "vgg16_bn"]
    assert "imagenet" not in page["Networks", "vgg6_bn"]
    assert "`layer1`, `layer2`, `layer3`" in page["Networks", "resnet8"]


def test_nested_settings_are_found(page):
    rows = table(page["Compressions", "prune_weights"])
    assert {"students", "students.NAME.rate", "optimization.augmentation.flip"} < {key.strip(" `") for key in rows}
    assert "miniature.seed" in {key.strip(" `") for key in table(page["Data sources", "imagenet"])}


def test_every_rectifier_is_named(page):
    (row,) = [line for line in page["Matching losses", "swa"].splitlines() if line.startswith("| `rectifier`")]
    assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == set(RECTIFIERS)


def test_needs_and_refusals_are_told(page):
    assert "It refuses residual networks" in page["Attribution methods", "deep_lift"]
    assert "refuse" not in page["Attribution methods", "grad_cam"]
    assert "no gradient" in page["Attribution methods", "rise"]
    assert "a relevance rule for every layer" in page["Attribution methods", "lrp"]
    assert "Each image has one class." in page["Data sources", "imagenet"]
    silent = replace(DEEP_LIFT, refuses=lambda settings, networks, size: None)
    with pytest.raises(ValueError, match="deep_lift: the function that refuses has no docstring"):
        list(choices._of_method(silent))


class Documented(Section):
    """A section.

    Attributes:
        first, second: either
            of two.
        word: `a|b` * c.

    Examples:
        third: not an attribute.
    """

    first: int
    second: int = 3
    word: str | None = None


class Heir(Documented):
    """Of another meaning.

    Attributes:
        first: one's own.
    """


class Partly(Section):
    """Not all is said.

    Attributes:
        first: this one.
    """

    first: int
    second: int


class Without(Section):
    """Nothing is said."""

    inner: Documented


class Outer(Section):
    """A section in a section.

    Attributes:
        inner: by name.
    """

    inner: dict[Name, Partly]


class Odd(Section):
    """A type that has no words.

    Attributes:
        first: bytes.
    """

    first: bytes


def test_meanings_and_defaults_are_those_of_the_class_or_of_one_that_it_inherits_from():
    rows = {row.key: (row.meaning, row.default) for row in choices.rows(Heir)}
    assert rows == {
        "first": ("one's own.", "required"),
        "second": ("either of two.", "`3`"),
        "word": (r"`a\|b` \* c.", "`null`"),
    }


@pytest.mark.parametrize(
    ("section", "field"),
    [(Partly, "Partly.second"), (Without, "Without.inner"), (Outer, "Partly.second"), (Odd, "Odd.first")],
)
def test_a_field_without_a_meaning_or_of_an_unknown_type_is_an_error_that_names_it(section, field):
    with pytest.raises(ValueError, match=rf"test_choices\.{field}: no "):
        list(choices.rows(section))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (bool, "`true` or `false`"),
        (str | None, "text or `null`"),
        (Count, "integer from 1 to 1,000,000,000"),
        (Seed | None, "integer from 0 to 9,223,372,036,854,775,807 or `null`"),
        (Share, "number from 0.001 to 0.999"),
        (Annotated[Side, Field(ge=2)], "integer from 2 to 1,024"),
        (Annotated[int, Field(ge=2)], "integer of at least 2"),
        (Annotated[int, Field(lt=2)], "integer of at most 1"),
        (Annotated[float, Field(gt=0, lt=1)], "number above 0 and below 1"),
        (Annotated[float, Field(ge=0.5, lt=1, le=1)], "number of at least 0.5 and below 1"),
        (Annotated[float, Field(gt=0), between(1e-9, 1000)], "number from 1e-09 to 1,000"),
        (Annotated[str, Field(pattern="^a|b$")], r"text that matches `^a\|b$`"),
        (Literal["all", "right"], "`all` or `right`"),
        (list[Count], "list of any length: integer from 1 to 1,000,000,000"),
        (Annotated[list[str], Field(min_length=1), AfterValidator(distinct)], "list of at least 1: text"),
        (Annotated[list[bool], Field(min_length=2, max_length=2)], "list of 2: `true` or `false`"),
        (dict[Name, dict[str, float]], "for each name: for each name: number"),
        (dict[Name, Outer], "for each name: section"),
    ],
)
def test_a_type_is_said_with_its_strictest_bounds(kind, expected):
    assert choices.words(kind) == expected


@pytest.mark.parametrize("name", ["parameters.md", "choices.md"])
@pytest.mark.parametrize("file", FILES)
def test_who_reads_without_a_site_is_sent_to_the_lists(name, file):
    assert f"](../attribution_preservation/{file})" in (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["parameters.md", "choices.md"])
def test_no_page_keeps_a_list_of_its_own(name):
    words = set(re.findall(r"`(\w+)`", (DOCS / name).read_text(encoding="utf-8")))
    assert not words & {*METHODS, *LOSSES, *SOURCES}
