"""A real browser, without a window: Debian's Chromium, or whichever is here."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It is to ask nothing of any host by itself.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


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
    """Open a page; what it complained of and asked for stands in `page.told` and `page.asked`."""
    contexts = []

    def open_page(url, width=1280, height=900, scheme="light", touch=False):
        # Without motion: a page that still scrolls has its points elsewhere a moment later.
        view = {"width": width, "height": height}
        context = browser.new_context(color_scheme=scheme, viewport=view, has_touch=touch, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.told, page.asked = [], []
        page.on("console", lambda message: page.told.append(message.text))
        page.on("pageerror", lambda error: page.told.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(url)
        page.wait_for_selector("#maps[data-shown]")
        return page

    yield open_page
    for context in contexts:
        context.close()
