"""Progress of a stage: a bar on a terminal, otherwise a line from time to time."""

import sys
import time

from tqdm import tqdm

from attribution_preservation.process.jobs import position
from attribution_preservation.process.rank import leads
from attribution_preservation.process.streams import tell


class Progress:
    """Progress over a number of units (0: unknown), with current values, rate and remaining time.

    Only the leading process shows progress. Without a terminal (a log file, CI), one plain line is printed every
    `every` seconds and one at the end, because a bar would fill the log with carriage returns.
    """

    def __init__(self, total: int, label: str, unit: str = "img", every: float = 20.0) -> None:
        terminal = sys.stderr.isatty() and leads()
        self._bar = tqdm(
            total=total or None,
            desc=label,
            unit=unit,
            disable=not terminal,
            dynamic_ncols=True,
            leave=False,
            position=position(),
        )
        self._plain = leads() and not terminal
        self._label, self._unit, self._total, self._every = label, unit, total, every
        self._done = 0
        self._start = self._last = time.monotonic()

    def advance(self, units: int, figures: str = "") -> None:
        """Add `units` to the finished units and show `figures`."""
        self._done += units
        self._bar.set_postfix_str(figures, refresh=False)
        self._bar.update(units)
        if self._plain and time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._print(figures)

    def close(self, figures: str = "") -> None:
        """End the bar; without a terminal print the last line."""
        self._bar.close()
        if self._plain and time.monotonic() - self._start >= 2.0:
            self._print(figures)

    def _print(self, figures: str) -> None:
        elapsed = time.monotonic() - self._start
        rate = self._done / max(elapsed, 1e-9)
        remaining = (self._total - self._done) / max(rate, 1e-9)
        of = f"/{self._total}" if self._total else ""
        text = f"{self._label}: {self._done}{of} {self._unit}, {rate:.0f} {self._unit}/s"
        text += f", {remaining:.0f} s left" if self._done < self._total else f", {elapsed:.0f} s"
        tell(text + (f", {figures}" if figures else ""), sys.stderr)
