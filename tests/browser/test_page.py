"""The committed page in a real browser, opened from its file."""

import functools
import http.server
import threading

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.conftest import PROJECT

REPORTS = PROJECT / "reports"
URL = (REPORTS / "index.html").as_uri()


def map_pixels(page):
    """What every map looks like, as pixels."""
    return [canvas.screenshot() for canvas in page.query_selector_all("#maps canvas")]


def moved_to(page, before):
    page.wait_for_function("before => document.getElementById('maps').dataset.shown !== before", arg=before)
    return page.get_attribute("#maps", "data-shown")


def charts(page):
    page.evaluate("document.getElementById('curves').scrollIntoView()")
    page.wait_for_selector("#charts[data-shown] svg")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wrong_with_the_page_and_nobody_is_shut_out(opened, scheme, width):
    page = opened(URL, width=width, scheme=scheme)
    charts(page)
    for details in page.query_selector_all("#figures details")[:1]:
        details.query_selector("summary").click()
    serious = [
        (violation["id"], violation["nodes"][0]["html"])
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.messages == []
    # The page itself is no wider than the window; wide tables scroll within themselves.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert all(url.startswith(("file:", "data:")) for url in page.urls)


def test_the_page_works_from_a_static_host_and_asks_no_other(opened):
    handler = functools.partial(Quiet, directory=str(REPORTS))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        host = f"http://127.0.0.1:{server.server_port}/"
        page = opened(host)
        charts(page)
        assert page.messages == []
        assert len(page.urls) > 4
        assert all(url.startswith((host, "data:")) for url in page.urls)
    finally:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_the_slider_changes_the_students_maps_and_leaves_the_teachers(opened):
    page = opened(URL)
    before, place = map_pixels(page), page.get_attribute("#maps", "data-shown")
    assert page.input_value("#level") == page.get_attribute("#level", "max") == "15"  # the last of 16 iterations
    page.focus("#level")
    page.keyboard.press("Home")
    moved_to(page, place)
    after = map_pixels(page)
    assert page.text_content("#level-text").startswith("iteration 1,")
    # picture, mask and the full network, then a map for each method
    assert after[:3] == before[:3]
    assert all(new != old for new, old in zip(after[3:], before[3:], strict=True))
    assert len(after) == 7


def test_another_image_is_shown_with_its_own_scores(opened):
    page = opened(URL)
    before, scores, place = map_pixels(page), page.text_content("#maps"), page.get_attribute("#maps", "data-shown")
    page.click("#next")
    place = moved_to(page, place)
    assert place.startswith("1-0-")
    assert all(new != old for new, old in zip(map_pixels(page), before, strict=True))
    assert page.text_content("#maps") != scores
    # Every student is first shown at its end, also after one that has a single step.
    for label, last in (("channel pruning, rate 70", "0"), ("distillation, half", "2")):
        page.select_option("#course", label=label)
        place = moved_to(page, place)
        assert page.get_attribute("#level", "max") == page.input_value("#level") == last


def test_every_image_has_its_sheet_and_every_class_its_maps(opened):
    page = opened(URL)
    count = page.evaluate("PAGE.explorer.images.length")
    assert count == 40
    for number in range(count):
        place = page.get_attribute("#maps", "data-shown")
        for kind in range(page.evaluate(f"PAGE.explorer.images[{number}].classes.length")):
            if kind:
                page.select_option("#class", index=kind)
                place = moved_to(page, place)
            assert len(page.query_selector_all("#maps canvas")) == 7
        if number + 1 < count:
            page.click("#next")
            moved_to(page, place)
    assert page.messages == []


def test_a_finger_moves_through_images_and_steps(opened):
    page = opened(URL, width=390, height=844, touch=True)
    place = page.get_attribute("#maps", "data-shown")
    page.tap("#next")
    place = moved_to(page, place)
    box = page.query_selector("#level").bounding_box()
    page.touchscreen.tap(box["x"] + 2, box["y"] + box["height"] / 2)
    moved_to(page, place)
    assert page.input_value("#level") == "0"
    # as large as a finger needs (WCAG 2.5.5)
    for name in ("#previous", "#next", "#image", "#level"):
        assert page.query_selector(name).bounding_box()["height"] >= 44


def test_a_heading_sorts_its_column_down_up_and_back(opened):
    page = opened(URL)
    page.select_option("#table", label="prune weights all")
    table = ".table:not([hidden])"
    headings = page.eval_on_selector_all(f"{table} th", "cells => cells.map(cell => cell.textContent)")
    column = headings.index("cosine")

    def cells():
        texts = page.eval_on_selector_all(
            f"{table} tbody tr", "(rows, column) => rows.map(row => row.cells[column].textContent)", column
        )
        return [cell.split(" ")[0].rstrip("†*") for cell in texts]

    def values():
        return [float(cell) for cell in cells() if cell]

    before = cells()
    button = page.query_selector_all(f"{table} th button")[column]
    button.click()
    assert values() == sorted(values(), reverse=True) != [float(cell) for cell in before if cell]
    assert cells()[-1] == ""  # what has no value comes last
    button.press("Enter")
    assert values() == sorted(values())
    assert page.query_selector(f"{table} th[aria-sort=ascending]").text_content() == "cosine"
    button.click()
    assert cells() == before


def test_the_best_value_is_bold_and_significance_is_marked(opened):
    page = opened(URL)
    text = page.inner_html("#tables")
    assert "<strong>" in text
    assert "†" in text
    assert "**" not in text


def test_curves_follow_the_choice_of_student_and_pairs(opened):
    page = opened(URL)
    charts(page)
    before = page.get_attribute("#charts", "data-shown")
    count = len(page.query_selector_all("#charts svg"))
    assert count >= 4
    page.select_option("#population", "own")
    page.wait_for_function("before => document.getElementById('charts').dataset.shown !== before", arg=before)
    assert page.get_attribute("#charts", "data-shown").endswith("-own")
    assert page.messages == []


def test_a_point_of_a_curve_tells_its_step_and_value(opened):
    page = opened(URL)
    charts(page)
    (marks,) = page.query_selector_all("#charts figure:first-child svg .mark-symbol.role-mark")[:1]
    points = marks.query_selector_all("path")
    points[3].scroll_into_view_if_needed()
    points[3].wait_for_element_state("stable")  # the page may still be scrolling
    box = points[3].bounding_box()
    for step in (4, 0):  # it takes a movement for a tooltip to come
        page.mouse.move(box["x"] + box["width"] / 2 + step, box["y"] + box["height"] / 2)
    page.wait_for_selector("#vg-tooltip-element.visible")
    rows = page.eval_on_selector_all("#vg-tooltip-element tr", "rows => rows.map(row => row.innerText.split('\\t'))")
    tooltip = {name.strip(): value.strip() for name, value in rows}
    assert tooltip["step"] == "iteration 4, 59 % of the convolution weights pruned"
    # Another method's point may lie above it; the value is that method's own.
    lines = page.evaluate("PAGE.curves[0].panels.common[0].lines")
    (points,) = [line["points"] for line in lines if line["name"] == tooltip["method"]]
    assert tooltip["mAP [%]"] == f"{points[3][1]:.3f}"


def test_the_page_is_small_before_a_picture_is_opened(opened):
    page = opened(URL)
    paths = [REPORTS / url.removeprefix(REPORTS.as_uri() + "/") for url in page.urls if url.startswith("file:")]
    assert not [path for path in paths if path.parent.name == "figures"]
    assert sum(path.stat().st_size for path in paths) < 3e6
    everything = [path for path in REPORTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in everything) < 25e6
