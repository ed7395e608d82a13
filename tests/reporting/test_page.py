"""The page's data: sheets hold each network's map where the data says, and a table's cells are those of its file."""

import io
import json
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from attribution_preservation.reporting.page.alt_texts import page_figure
from attribution_preservation.reporting.page.curve_data import curve_data
from attribution_preservation.reporting.page.headline import headline_sentence
from attribution_preservation.reporting.page.render import Page, page_files, page_html
from attribution_preservation.reporting.page.sprite_sheets import (
    COLUMNS,
    Course,
    ImageMaps,
    MapOfPair,
    PairCourse,
    PairMaps,
    explorer_files,
)
from attribution_preservation.reporting.paired_tests import PairedTests
from attribution_preservation.reporting.results import Level
from attribution_preservation.reporting.table import Grid, Span, Table, html, text_cell
from attribution_preservation.reporting.transfer import Transfer, transfer_table
from tests.reporting.titles import TITLES

GENERATOR = np.random.default_rng(0)
LEVEL = Level("prune_weights", "iterative", 2)


def random_map(side=3, cosine=0.5):
    return MapOfPair(GENERATOR.random((side, side)), 71.26, True, False, cosine)


def explored(steps=30):
    teacher = random_map(cosine=None)
    course = PairCourse("one", teacher, [[random_map(), None] for _ in range(steps)])
    again = PairCourse("two", teacher, [[random_map(), random_map()]])
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:5, 2:5] = True
    picture = GENERATOR.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    courses = [Course("first", [str(step) for step in range(steps)], ["Naive", "SWA"])]
    courses.append(Course("second", ["end"], ["Naive", "SWA"]))
    return courses, [ImageMaps(picture, [PairMaps(mask, [course, again])])]


def tile_of(sheet, data, number):
    side, top = data["tile"], data["size"]
    row, column = divmod(number, data["columns"])
    return sheet[top + row * side : top + (row + 1) * side, column * side : (column + 1) * side]


def test_every_map_lies_in_the_sheet_where_the_data_says():
    courses, images = explored()
    data, sheets = explorer_files(courses, images)
    sheet = np.asarray(Image.open(io.BytesIO(sheets["000.png"])))
    (of_class,) = data["images"][0]["classes"]
    for course, of_course in zip(images[0].classes[0].courses, of_class["courses"], strict=True):
        pairs = [(course.teacher, of_course["teacher"])]
        pairs += [
            (network, entry)
            for level, of_level in zip(course.levels, of_course["levels"], strict=True)
            for network, entry in zip(level, of_level, strict=True)
        ]
        for network, entry in pairs:
            if network is None:
                assert entry is None
                continue
            expected = matplotlib.colormaps["inferno"](network.map / network.map.max())[..., :3] * 255
            assert np.abs(tile_of(sheet, data, entry[0]) - expected).max() <= 1
            assert entry[1:] == [71.3, 1, 0, network.cosine]
    # More tiles than one row holds, and the teacher's once for both students.
    tiles = {entry[0] for course in of_class["courses"] for level in course["levels"] for entry in level if entry}
    assert max(tiles) >= COLUMNS
    assert of_class["courses"][0]["teacher"] == of_class["courses"][1]["teacher"]
    # Two full networks may have two top classes.
    assert [course["class"] for course in of_class["courses"]] == ["one", "two"]
    np.testing.assert_array_equal(sheet[:6, :6], images[0].picture)


def test_the_outline_is_the_masks_edge():
    courses, images = explored(1)
    data, sheets = explorer_files(courses, images)
    outline = np.asarray(Image.open(io.BytesIO(sheets["000.png"])))[:6, 6:12].any(axis=2)
    expected = np.zeros((6, 6), dtype=bool)
    expected[1:5, 2:5] = True
    expected[2:4, 3] = False
    np.testing.assert_array_equal(outline, expected)
    assert data["images"][0]["classes"][0]["outline"] == 1


def test_maps_of_two_sizes_share_a_sheet_and_a_map_that_is_zero_has_no_tile():
    courses, images = explored(1)
    small = MapOfPair(np.zeros((2, 2)), float("nan"), False, False, 0.0)
    flat = MapOfPair(np.ones((2, 2)), float("nan"), False, False, 0.25)
    wide = PairCourse("one", random_map(4, None), [[small, flat]])
    image = ImageMaps(images[0].picture, [PairMaps(images[0].classes[0].mask, [wide])])
    data, sheets = explorer_files(courses[:1], [image])
    sheet = np.asarray(Image.open(io.BytesIO(sheets["000.png"])))
    nothing, one = data["images"][0]["classes"][0]["courses"][0]["levels"][0]
    assert data["tile"] == 4
    assert (tile_of(sheet, data, one[0]) == tile_of(sheet, data, one[0])[0, 0]).all()
    assert one[1:] == [None, 0, 0, 0.25]
    assert nothing == [None, None, 0, 0, 0.0]


def test_a_table_on_the_page_has_its_cells_with_what_is_bold():
    rows = [[text_cell("Naive"), text_cell("0.9 ± 0.1")], [text_cell("SWA"), (Span("0.95", bold=True), Span("†*"))]]
    table = Table("prune_weights_all", "Caption with <b> & `code`.", [Grid(["network", "cosine"], rows)], None)
    text = html(table)
    table_rows = ElementTree.fromstring(f"<page>{text}</page>").iter("tr")
    cells = [["".join(cell.itertext()) for cell in row] for row in table_rows]
    assert cells == [["network", "cosine"], ["Naive", "0.9 ± 0.1"], ["SWA", "0.95†*"]]
    assert "<strong>0.95</strong>†*" in text
    assert "&lt;b&gt; &amp; <code>code</code>" in text
    assert table.title == "prune weights all"


def test_rows_that_describe_columns_are_the_foot_of_each_table():
    # A row is in the foot because the table says so; its name says nothing.
    rows = {name: [text_cell(name), text_cell("1")] for name in ("a", "n", "seeds")}
    for foot in ([], ["n", "seeds"]):
        body = [name for name in rows if name not in foot]
        grid = Grid(["x", "y"], [rows[name] for name in body], [rows[name] for name in foot])
        page = ElementTree.fromstring(f"<page>{html(Table('t', 'Words.', [grid, grid], None))}</page>")
        for part, names in (("tbody", body), ("tfoot", foot)):
            first_cells = [["".join(row[0].itertext()) for row in rows] for rows in page.iter(part)]
            assert first_cells == ([names] * 2 if names else [])
        scopes = [cell.get("scope") for rows in page.iter("tfoot") for row in rows for cell in row]
        assert scopes == ["row", None] * 2 * len(foot)


def test_the_foot_of_a_transfer_matrix_is_what_it_counts():
    means = pd.DataFrame({"grad_cam": [0.5, 0.9], "lrp": [0.6, float("nan")]}, index=["Naive", "SWA"])
    none = pd.DataFrame(False, index=means.index, columns=means.columns)
    pairs = pd.DataFrame({"grad_cam": [40.0, 40.0], "lrp": [12.0, 12.0]}, index=means.index)
    seeds = pd.Series([3, 2], index=["grad_cam", "lrp"])
    table = transfer_table(
        {"cosine": Transfer(means, means * 0, none, none, pairs, seeds)}, "t", "Title", TITLES, "Note."
    )
    page = ElementTree.fromstring(f"<page>{html(table)}</page>")
    cells = {
        part: [[cell.text or "" for cell in row] for row in page.find(f".//{part}")] for part in ("tbody", "tfoot")
    }
    assert cells["tfoot"] == [["n", "40", "12"], ["seeds", "3", "2"]]
    assert [row[0] for row in cells["tbody"]] == ["Naive", "SWA"]


def parts_of(html):
    """Sections of a page, and those that its contents name."""
    page = [part.split('"')[0] for part in html.split('<section id="')[1:]]
    return page, [part.split('"')[0] for part in html.split('<a href="#')[1:] if not part.startswith("main")]


@pytest.mark.parametrize("missing", ["explorer", "tables", "curves", "figures"])
def test_a_part_that_a_profile_has_nothing_for_is_neither_on_the_page_nor_in_its_contents(missing):
    data, _ = explorer_files(*explored(1))
    having = {"explorer": data, "tables": [Table("t", "Words.", [], None)], "curves": [{"title": "c", "panels": {}}]}
    having["figures"] = [page_figure("figures/one.png", None, (50, 30))]
    nothing = explorer_files([], [])[0] if missing == "explorer" else []
    page = page_html(Page(note="", headline=None, sheets={}, origin="", command="", **having | {missing: nothing}))
    rest = [part for part in ("explorer", "tables", "curves", "figures") if part != missing]
    assert parts_of(page) == (rest, [*rest, "origin"])
    assert ("vega.js" in page.split("<body>")[1]) == (missing != "curves")


def test_a_figure_of_known_size_has_its_space():
    data, _ = explorer_files(*explored(1))
    figures = [page_figure("figures/one.png", None, (50, 30)), page_figure("figures/two.png", None)]
    page = page_html(Page("", None, [], [], data, {}, figures, "", ""))
    one, two = (part.split(">")[0] for part in page.split("<img")[1:])
    assert 'width="50" height="30"' in one
    assert "width" not in two


def test_a_page_and_its_data_bear_the_same_run():
    data, sheets = explorer_files(*explored(1))
    page = Page("", None, [], [], data, sheets, [], "", "", "0123abcd")
    assert '<html lang="en" data-run="0123abcd">' in page_html(page)
    text = page_files(page)["data.js"].decode().removeprefix("window.PAGE = ").removesuffix(";\n")
    assert json.loads(text)["run"] == "0123abcd"


def outcomes(p, difference):
    row = {"compression": "prune_weights", "student": "iterative", "iteration": 2, "epoch": None, "method": "swa"}
    row |= {"reference": "naive", "attribution": "grad_cam", "population": "common", "metric": "cosine"}
    row |= {"difference": difference, "low": difference - 0.042, "high": difference + 0.042, "p": p, "seeds": 3}
    return PairedTests(pd.DataFrame([row, row | {"method": "ewa", "p": 0.5, "difference": 0.9}]))


@pytest.mark.parametrize(
    ("p", "difference", "ending"),
    [
        (0.01, 0.079, "closer to the full network's than Naive's by 0.079 in cosine (95 % interval 0.037 to 0.121 over "
         "images and 3 seeds, of this comparison alone); corrected for the 2 comparisons that were made, the test "
         "confirms it (p = 0.020)."),
        (0.04, -0.079, "further from the full network's than Naive's by 0.079 in cosine (95 % interval 0.037 to 0.121 "
         "over images and 3 seeds, of this comparison alone); corrected for the 2 comparisons that were made, the test "
         "does not confirm it (p = 0.080)."),
        (float("nan"), 0.079, "closer to the full network's than Naive's by 0.079 in cosine; 3 seeds are too few for "
         "an interval."),
    ],
)  # fmt: skip
def test_the_headline_is_swas_difference_whatever_it_is(scores, p, difference, ending):
    sentence = headline_sentence(scores(), ["naive", "ewa", "swa"], outcomes(p, difference), TITLES)
    start = "After compression (weight pruning, iterative, 20 % of the convolution weights pruned), "
    assert sentence == f"{start}SWA's Grad-CAM maps are {ending}"


def test_without_a_comparison_there_is_no_headline(scores):
    assert headline_sentence(scores(), ["naive"], outcomes(0.01, 0.079), TITLES) is None


def test_curves_are_the_means_and_deviations_over_seeds(scores):
    results = scores()
    (entry,) = curve_data(
        results,
        {"a course": [Level("prune_weights", "iterative", k) for k in (1, 2)]},
        ["naive", "swa"],
        ["all"],
        TITLES,
    )
    (cosine,) = [panel for panel in entry["panels"]["all"] if panel["label"].startswith("cosine")]
    assert cosine["steps"] == [f"iteration {k}, 20 % of the convolution weights pruned" for k in (1, 2)]
    lines = {line["name"]: line["points"] for line in cosine["lines"]}
    values = np.array([0.90, 0.92]) - 0.3
    assert lines["SWA"] == [[step, round(values.mean(), 5), round(values.std(ddof=1), 5)] for step in (1.0, 2.0)]


def test_a_figure_is_told_in_words():
    figure = page_figure("figures/a_b.png", "y,x,line,position\nROC-AUC [%],epoch,SWA,1\nmAP [%],epoch,Naive,1\n")
    assert figure.alt == "a b: ROC-AUC [%], mAP [%] by epoch; a line or points each for SWA, Naive"
    assert page_figure("figures/heatmaps_distill.png", None).alt.startswith("Pictures, and over each the Grad-CAM map")


def test_the_pages_data_is_json_and_its_library_comes_from_its_package():
    courses, images = explored(2)
    data, sheets = explorer_files(courses, images)
    page = Page(
        "A note & more.",
        None,
        [Table("t", "Words.", [Grid(["a"], [[text_cell("1")]])], None)],
        [],
        data,
        sheets,
        [],
        "o",
        "c",
    )
    files = page_files(page)
    text = files["data.js"].decode()
    assert json.loads(text.removeprefix("window.PAGE = ").removesuffix(";\n")) == {"curves": [], "explorer": data}
    assert set(files) == {"data.js", "vega.js", "images/000.png"}
    assert files["vega.js"] == page_files(page)["vega.js"]  # a page's bytes depend on nothing else
    html = page_html(page)
    assert "A note &amp; more." in html
    assert "<td>1</td>" in html
    assert "://" not in html.replace("http://www.w3.org", "").replace("https://vega.github.io/schema", "")
