"""A link of the contents lands on its part, with motion as a visitor has it, and nothing moves meanwhile."""

import http.server
import queue
import re
import threading

import pytest

from tests.browser.conftest import written
from tests.browser.test_page import REPORTS, URL

PARTS = ("explorer", "tables", "curves", "figures", "origin")
# How far the page is from where a part begins, or from its end where the rest is shorter than the window.
AWAY = """(part) => {
  const top = document.getElementById(part).getBoundingClientRect().top + scrollY;
  return Math.abs(scrollY - Math.min(top, document.documentElement.scrollHeight - innerHeight));
}"""
# Charts are drawn when they come near the window; pictures of open figures are loaded there.
FILLED = """() => {
  const box = document.getElementById("curves").getBoundingClientRect();
  const near = box.top < innerHeight + 400 && box.bottom > -400;
  const pictures = [...document.querySelectorAll("#figures details[open] img")];
  return document.getElementById("maps").dataset.shown && (!near || document.getElementById("charts").dataset.shown)
    && pictures.every((picture) => picture.complete);
}"""


def after_scrolling(page, act):
    """Act, and wait for the event at the end of the scroll that follows."""
    page.evaluate("ended = false; addEventListener('scrollend', () => { ended = true; }, { once: true });")
    act()
    page.wait_for_function("ended")


def assert_there(page, part):
    page.wait_for_function(f"(part) => ({AWAY})(part) <= 1", arg=part)
    page.wait_for_function(FILLED)
    assert page.evaluate(AWAY, part) <= 1
    assert page.evaluate("shifts") == []


def link(page, part):
    return page.locator(f'nav a[href="#{part}"]')


@pytest.mark.parametrize("width", [1280, 760, 390])
@pytest.mark.parametrize("part", PARTS)
def test_a_link_of_the_contents_lands_on_its_part(opened, part, width):
    page = opened(URL, width=width)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "smooth"
    after_scrolling(page, link(page, part).click)
    assert_there(page, part)


def test_the_contents_name_every_part(opened):
    page = opened(URL)
    links = page.eval_on_selector_all("nav a", "links => links.map(link => link.hash.slice(1))")
    assert links == list(PARTS)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("part", PARTS)
def test_an_address_with_a_part_opens_there(opened, part, width):
    assert_there(opened(f"{URL}#{part}", width=width), part)


@pytest.mark.parametrize("width", [1280, 390])
def test_back_and_forward_return_to_the_parts(opened, width):
    page = opened(URL, width=width)
    for part in ("figures", "tables"):
        page.evaluate("document.activeElement.blur()")
        after_scrolling(page, lambda part=part: page.evaluate("part => { location.hash = part; }", part))
        assert_there(page, part)
    # Chromium scrolls smoothly to an entry of the history too, and forgets where the next one was while it does.
    after_scrolling(page, page.go_back)
    assert_there(page, "figures")
    after_scrolling(page, page.go_forward)
    assert_there(page, "tables")
    page.reload()
    assert_there(page, "tables")


def test_pictures_that_come_late_move_nothing(opened):
    page = opened(URL, ready="#explorer figure", held="**/*.png")
    after_scrolling(page, link(page, "figures").click)
    page.evaluate("for (const figure of [...document.querySelectorAll('details')].slice(-3)) figure.open = true")
    after_scrolling(page, lambda: page.evaluate("location.hash = 'origin'"))
    before = page.evaluate("document.documentElement.scrollHeight")
    page.release()
    assert_there(page, "origin")
    assert page.evaluate("document.documentElement.scrollHeight") == before


def test_a_plotting_library_that_comes_late_moves_nothing(opened):
    page = opened(URL, held="**/vega.js")
    after_scrolling(page, link(page, "curves").click)
    before = page.evaluate("document.getElementById('charts').offsetHeight")
    page.release()
    page.wait_for_selector("#charts[data-shown] svg")
    assert_there(page, "curves")
    assert page.evaluate("document.getElementById('charts').offsetHeight") == before


def pieces_of(html: str) -> list[str]:
    """The page, cut before every field, link, part and script of its body: a slow line may end anywhere."""
    head, body = html.split("<body>")
    cuts = re.split(r'(?=<div class="(?:field|maps|table|charts|scripts)|<li>|<section|</section>|<script>)', body)
    return [head + "<body>", *cuts]


@pytest.fixture
def slow_line():
    """A host that sends a page piece by piece: its address, and the queue from which it takes them."""
    pieces = queue.Queue()

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = REPORTS / self.path.lstrip("/")
            kinds = {".js": "text/javascript", ".png": "image/png"}
            self.send_response(200)
            self.send_header("Content-Type", kinds.get(path.suffix, "text/html; charset=utf-8"))
            self.end_headers()
            if self.path != "/":
                self.wfile.write(path.read_bytes())
                return
            while (piece := pieces.get(timeout=60)) is not None:
                self.wfile.write(piece.encode())
                self.wfile.flush()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", pieces
    pieces.put(None)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("width", [1280, 760, 390])
def test_a_page_that_comes_in_pieces_moves_nothing(opened, slow_line, width):
    address, pieces = slow_line
    first, *rest, last = pieces_of((REPORTS / "index.html").read_text(encoding="utf-8"))
    assert len(rest) > 20
    pieces.put(first)
    page = opened(address, width=width, ready="body", arrived="commit")
    for number, piece in enumerate(rest):
        pieces.put(f"{piece}<!--{number}-->")
        page.wait_for_function("mark => document.documentElement.innerHTML.includes(mark)", arg=f"<!--{number}-->")
        # two frames: this piece has been laid out and painted when the next one comes
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    pieces.put(last)
    pieces.put(None)
    page.wait_for_load_state()
    page.wait_for_selector("#maps[data-shown]")
    assert page.evaluate("shifts") == []


def test_every_picture_of_the_page_has_its_own_size(opened):
    page = opened(URL)
    page.evaluate("for (const figure of document.querySelectorAll('details')) figure.open = true")
    page.evaluate("for (const picture of document.images) picture.loading = 'eager'")
    page.wait_for_function("[...document.images].every((picture) => picture.complete)")
    sizes = page.eval_on_selector_all(
        "img", "pictures => pictures.map(p => [p.naturalWidth, p.naturalHeight, +p.getAttribute('width'), "
        "+p.getAttribute('height')])",
    )  # fmt: skip
    assert len(sizes) == len(list((REPORTS / "figures").glob("*.png")))
    assert all((width, height) == (wide, high) for width, height, wide, high in sizes)


def test_another_choice_of_curves_has_its_space_at_once(opened, tmp_path):
    page = opened(written(tmp_path).as_uri())
    page.evaluate("document.getElementById('curves').scrollIntoView()")
    page.wait_for_selector("#charts[data-shown$=common] svg")
    # The height right after the choice, and that of the finished charts.
    height = page.evaluate(
        "() => { const pairs = document.getElementById('population'); pairs.value = 'own';"
        "pairs.dispatchEvent(new Event('change')); return document.getElementById('charts').offsetHeight; }"
    )
    page.wait_for_selector("#charts[data-shown$=own] svg")
    assert page.evaluate("document.getElementById('charts').offsetHeight") == height
    page.select_option("#population", "all")
    assert page.locator("#charts .missing").inner_text().startswith("No method of this student has such pairs")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_has_every_chart_and_every_row_without_scrolling(opened, scheme):
    page = opened(URL, scheme=scheme)
    page.pdf()  # printed from the top: no chart has been near the window
    page.wait_for_selector("#charts[data-shown] svg")
    assert len(page.query_selector_all("#charts svg")) == len(page.query_selector_all("#charts figure")) >= 4
    page.emulate_media(media="print")
    cut = page.eval_on_selector_all(
        ".table:not([hidden]) .wide", "boxes => boxes.filter(b => b.scrollHeight > b.clientHeight + 1).length"
    )
    assert cut == 0
