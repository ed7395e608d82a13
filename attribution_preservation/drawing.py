"""matplotlib for pictures that do not depend on the environment, without a change in the caller's process.

Import this module before any module that imports matplotlib. A notebook sets MPLBACKEND for every process that it
starts. If that backend is not installed, even `import matplotlib` fails.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _import_matplotlib() -> ModuleType:
    """matplotlib with the backend of MPLBACKEND, as it would import itself, or without one that does not exist."""
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    backend = os.environ.pop("MPLBACKEND", "")
    try:
        import matplotlib
    finally:
        if backend:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


matplotlib = _import_matplotlib()


@contextmanager
def default_settings() -> Iterator[None]:
    """matplotlib's own settings: a picture's bytes depend neither on a matplotlibrc nor on the caller's rcParams."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def blank_figure(width: float, height: float) -> "Figure":
    """A figure that Agg draws: it needs neither a display nor pyplot, whose backend is the caller's.

    Args:
        width, height: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as a PNG whose bytes depend on nothing but what is drawn."""
    figure.savefig(path, dpi=110, metadata={"Software": None})
