"""How fast people get answers: the committed page in a real browser, and the audit of a table.

The page is opened from its file. A move goes from one (image, class) pair or step to the next, and ends when the maps
are drawn. It includes the loading of new sheets.
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from attribution_preservation.errors import UserError
from benchmarks.measurement import Figure

PAGE = Path("reports/index.html")
_TABLE = "reports/tables/compressions_own.md"
_MOVES, _REPEATS = 600, 5
_MOVE = """async () => {
  const [image, kind, level, maps] = ["image", "class", "level", "maps"].map((id) => document.getElementById(id));
  const number = Number(image.value);
  const before = maps.dataset.shown;
  const start = performance.now();
  if (kind.selectedIndex + 1 < kind.options.length) {
    kind.selectedIndex += 1;
    kind.dispatchEvent(new Event("change"));
  } else if (number + 1 < image.options.length) {
    document.getElementById("next").click();
  } else {
    level.value = String((Number(level.value) + 1) % (Number(level.max) + 1));
    document.getElementById("next").click();
  }
  while (maps.dataset.shown === before) await new Promise((resolve) => requestAnimationFrame(resolve));
  return performance.now() - start;
}"""


def measure() -> list[Figure]:
    """Seconds until the page is there, milliseconds of a move, seconds of an audit."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise UserError("no Chromium is here; install it")
    if not PAGE.exists():
        raise UserError(f"{PAGE} is missing; run dvc repro")
    opened, moves = _in_browser(browser)
    audits = [_audit() for _ in range(_REPEATS)]
    quartiles = statistics.quantiles(moves, n=20)
    return [
        Figure("page_opens", statistics.median(opened), "s", "lower", 1.0, (min(opened), max(opened))),
        Figure("page_move", statistics.median(moves), "ms", "lower", 100.0, (quartiles[0], quartiles[-1])),
        Figure("audit", statistics.median(audits), "s", "lower", 2.0, (min(audits), max(audits))),
    ]


def _in_browser(path: str) -> tuple[list[float], list[float]]:
    opened = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(_REPEATS):
            page = browser.new_page()
            start = time.perf_counter()
            page.goto(PAGE.resolve().as_uri())
            page.wait_for_selector("#maps[data-shown]")
            opened.append(time.perf_counter() - start)
        moves = [page.evaluate(_MOVE) for _ in range(_MOVES)]
        browser.close()
    return opened, moves


def _audit() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "stages.audit", _TABLE], check=True, capture_output=True)
    return time.perf_counter() - start
