"""Sorting ranks what a table compares: rows that describe its columns stay at the foot, missing values come last."""

import re

import pytest

from tests.browser.conftest import written
from tests.browser.test_page import REPORTS, URL

# By table its file's name, and for each column the cells and the first cells of all rows after each of three clicks.
SORTED = """() => [...document.querySelectorAll(".table")].map((part) => [
  document.querySelector(`#table option[value=${part.id}]`).textContent,
  [...part.querySelectorAll("table")].map((table) => {
    const texts = (column) => [...table.rows].slice(1).map((row) => row.cells[column].textContent);
    return [...table.tHead.rows[0].cells].map((heading, column) => [0, 1, 2].map(() => {
      heading.querySelector("button").click();
      return [heading.getAttribute("aria-sort"), texts(column), texts(0)];
    }));
  }),
])"""
WAYS = ["descending", "ascending", None]


def number(text):
    """The value of a cell as its stage writes it: mean ± deviation, marks, and a published figure in parentheses."""
    match = re.match(r"[+-]?[\d,]*\.?\d+", text)
    return float(match[0].replace(",", "")) if match else None


def rows_of(name):
    """First cells of the tables in a file of the record."""
    text = (REPORTS / "tables" / f"{name.replace(' ', '_')}.md").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    return [[line.split("|")[1].strip() for line in block[2:]] for block in blocks]


def test_every_column_of_every_table_is_sorted_both_ways_and_its_foot_stays(opened):
    page = opened(URL)
    parts = page.evaluate(SORTED)
    files = [path.stem for path in (REPORTS / "tables").glob("*.md")]
    assert sorted(name.replace(" ", "_") for name, _ in parts) == sorted(files)
    columns = 0
    for name, tables in parts:
        for table, before in zip(tables, rows_of(name), strict=True):
            # Only in a transfer matrix the columns have their own numbers of pairs and seeds, below the methods.
            foot = ["n", "seeds"] if name.startswith("transfer") else []
            assert before[len(before) - len(foot) :] == foot
            assert not {"n", "seeds"} & set(before[: len(before) - len(foot)])
            for column in table:
                assert [way for way, _, _ in column] == WAYS
                for way, cells, rows in column:
                    assert rows[len(rows) - len(foot) :] == foot
                    ranked = cells[: len(cells) - len(foot)]
                    values = [number(cell) for cell in ranked]
                    words = [cell for cell, value in zip(ranked, values, strict=True) if value is None and cell]
                    if way and not words:
                        known = [value for value in values if value is not None]
                        assert known == sorted(known, reverse=way == "descending"), (name, way, cells)
                        assert values[: len(known)] == known, (name, way, cells)
                        columns += 1
                assert column[2][2] == before
    assert columns > 500


@pytest.mark.parametrize(
    ("heading", "descending", "ascending"),
    [
        ("cosine", ["SWA", "Naive", "EWA", "Centre (baseline)"], ["Centre (baseline)", "EWA", "Naive", "SWA"]),
        # 20, 7, 0.5, and none
        ("Grad-CAM", ["SWA", "Centre (baseline)", "Naive", "EWA"], ["Naive", "Centre (baseline)", "SWA", "EWA"]),
        # 1000 beside a published 99.9, 3, -4, and a dash
        ("LRP", ["SWA", "EWA", "Centre (baseline)", "Naive"], ["Centre (baseline)", "EWA", "SWA", "Naive"]),
    ],
)
def test_what_has_no_value_comes_last_and_the_foot_after_it(opened, tmp_path, heading, descending, ascending):
    page = opened(written(tmp_path).as_uri())
    page.select_option("#table", label="transfer")
    for way, names in (("descending", descending), ("ascending", ascending)):
        page.get_by_role("button", name=heading, exact=True).click()
        assert page.get_by_role("columnheader", name=heading).get_attribute("aria-sort") == way
        first_cells = page.eval_on_selector_all(
            ".table:not([hidden]) tr", "rows => rows.slice(1).map(row => row.cells[0].textContent)"
        )
        assert first_cells == [*names, "n", "seeds"]


@pytest.mark.parametrize(
    ("cells", "ascending"),
    [
        (["nan", "2", "-1.5"], ["-1.5", "2", "nan"]),
        (["—", "1e-05", "0.5"], ["1e-05", "0.5", "—"]),
        (["(88.79)", "91.1 ± 0.2 (84.72)", "9.0 (90.00)"], ["9.0 (90.00)", "91.1 ± 0.2 (84.72)", "(88.79)"]),
        (["‡ (81.2)", "12.5‡ (80.1)", "3.1"], ["3.1", "12.5‡ (80.1)", "‡ (81.2)"]),
        (["+0.2 [-0.1, +0.5] p = 0.4", "", "-7.6 [-10.4, -4.9] p < 0.001*"],
         ["-7.6 [-10.4, -4.9] p < 0.001*", "+0.2 [-0.1, +0.5] p = 0.4", ""]),
        # Names that begin with a number are words, and a name that is missing is last as well.
        (["half", "2x half", "", "10x half"], ["2x half", "10x half", "half", ""]),
        (["sswa share 0.9", "-", "swa strength 150", "swa strength 15"],
         ["sswa share 0.9", "swa strength 15", "swa strength 150", "-"]),
        (["Teacher (b)", "Teacher (a)"], ["Teacher (a)", "Teacher (b)"]),
        (["163,498", "51,121", "1,234,567"], ["51,121", "163,498", "1,234,567"]),
    ],
)  # fmt: skip
def test_cells_are_ranked_by_what_they_mean(opened, tmp_path, cells, ascending):
    page = opened(written(tmp_path).as_uri())
    ranked = page.evaluate(
        """(texts) => [1, -1].map((sign) => {
          const table = document.createElement("table");
          for (const text of texts) table.insertRow().insertCell().textContent = text;
          return sortedRows([...table.rows], 0, sign).map((row) => row.textContent);
        })""",
        cells,
    )
    missing = [cell for cell in ascending if cell in ("", "-", "—", "nan") or cell.startswith(("(", "‡"))]
    known = ascending[: len(ascending) - len(missing)]
    assert ranked == [ascending, known[::-1] + missing]
