"""A real browser, without a window: Debian's Chromium, or whichever is here. It has on what a visitor has on."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attribution_preservation.reporting.page.alt_texts import page_figure
from attribution_preservation.reporting.page.render import Page, page_files, page_html
from attribution_preservation.reporting.page.sprite_sheets import explorer_files
from attribution_preservation.reporting.table import Grid, Table, text_cell
from tests.reporting.test_page import explored

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It is to ask nothing of any host by itself.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Every move up or down of what is already on the page, as the browser itself counts it.
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { sources } of list.getEntries()) {
    const moved = sources.filter(({ previousRect, currentRect }) => previousRect.y !== currentRect.y);
    window.shifts.push(...moved.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? node?.nodeName));
  }
}).observe({ type: "layout-shift", buffered: true });
"""
TRANSFER = Grid(
    ["cosine", "Grad-CAM", "LRP"],
    [
        [text_cell(text) for text in row]
        for row in (
            ("Naive", "0.5 ± 0.1", "-"),
            ("SWA", "20.0†*", "1,000 (99.9)"),
            ("EWA", "", "3"),
            ("Centre (baseline)", "7.0", "-4"),
        )
    ],
    [[text_cell(text) for text in row] for row in (("n", "393", "2"), ("seeds", "1", "30"))],
)


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("no Chromium is here, and REQUIRE_BROWSER is set")
        pytest.skip(f"no Chromium is here ({', '.join(NAMES)})")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Open a page; what it complained of and asked for stands in `page.messages` and `page.urls`.

    `ready` is the element whose presence says that the page is filled; `held` is a pattern of addresses that do not
    answer before `page.release()`; `arrived` is how much of the page has come, in Playwright's words.
    """
    contexts = []

    def open_page(
        url, width=1280, height=900, scheme="light", touch=False, scripts=True, ready="#maps[data-shown]", held=None,
        arrived="load",
    ):  # fmt: skip
        view = {"width": width, "height": height}
        context = browser.new_context(
            color_scheme=scheme,
            viewport=view,
            has_touch=touch,
            java_script_enabled=scripts,
            reduced_motion="no-preference",  # whatever this machine is set to
        )
        contexts.append(context)
        page = context.new_page()
        page.messages, page.urls, waiting = [], [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on("request", lambda request: page.urls.append(request.url))
        page.add_init_script(SHIFTS)
        page.free = held is None

        def hold(route):
            if page.free:
                route.continue_()
            else:
                waiting.append(route)

        def release():
            page.free = True
            for route in waiting:
                route.continue_()

        page.release = release
        if held:
            page.route(held, hold)
        page.goto(url, wait_until="commit" if held else arrived)
        page.wait_for_selector(ready, state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()


def written(folder: Path, run: str = "0123", students: int = 1) -> Path:
    """A small page with every part, and its files; its address is that of index.html."""
    courses, images = explored(3)
    data, sheets = explorer_files(courses, images * 2)
    points = [[float(x), 0.5, None] for x in range(3)]
    line = {"name": "SWA", "color": "#000000", "reference": False, "points": points}
    panels = [{"label": label, "x": "step", "ticks": [], "steps": list("abc"), "lines": [line]} for label in "pqr"]
    curves = [{"title": str(k), "panels": {"common": panels, "own": panels[:1], "all": []}} for k in range(students)]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "figures" / "one.png")
    plain = Grid(["a", "b"], [[text_cell("x"), text_cell("1")], [text_cell("y"), text_cell("2")]])
    tables = [Table(name, "Words.", [grid], None) for name, grid in (("plain", plain), ("transfer", TRANSFER))]
    figures = [page_figure("figures/one.png", None, (500, 300))]
    page = Page("A note.", "A headline.", tables, curves, data, sheets, figures, "origin", "command", run)
    (folder / "index.html").write_text(page_html(page), encoding="utf-8")
    for name, content in page_files(page).items():
        (folder / "page" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "page" / name).write_bytes(content)
    return folder / "index.html"
