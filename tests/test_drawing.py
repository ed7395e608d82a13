"""A notebook's variables and settings of matplotlib neither change nor stop the project's pictures."""

import os
import subprocess
import sys

import numpy as np
import pytest

from attribution_preservation.drawing import matplotlib
from attribution_preservation.reporting.heatmaps import HeatmapRow, draw_heatmaps
from attribution_preservation.reporting.panels import Line, Panel, draw_panels
from tests.conftest import ORDER, PROJECT, command_of

# What a kernel of Jupyter sets for itself and every process below it.
NOTEBOOK = {
    "JPY_PARENT_PID": "1", "JPY_SESSION_NAME": "a.ipynb", "TERM": "xterm-color", "CLICOLOR": "1", "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "PYDEVD_USE_FRAME_EVAL": "NO", "PYTHONSTARTUP": "/nowhere",
}  # fmt: skip
BACKENDS = ("module://matplotlib_inline.backend_inline", "nonsense", "QtAgg")
SETTINGS = {"figure.dpi": 300, "savefig.dpi": 30, "font.size": 20, "font.family": "serif", "lines.linewidth": 5,
            "axes.grid": True, "savefig.bbox": "tight", "image.cmap": "gray", "text.usetex": True}  # fmt: skip

DRAW = """
import sys
from pathlib import Path
from tests.test_drawing import draw
draw(Path(sys.argv[1]))
"""


def draw(folder):
    """One figure of lines and one of heat maps."""
    random = np.random.default_rng(0)
    line = Line("SWA", [0.0, 1.0, 2.0], [1.0, 3.0, 2.0], [0.1, 0.2, 0.3], 0)
    draw_panels([[Panel("mAP [%]", [line], "iteration")]], "Two lines", folder / "panels.png")
    maps = {"teacher": random.random((4, 4), dtype=np.float32), "swa": random.random((4, 4), dtype=np.float32)}
    image = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    draw_heatmaps([HeatmapRow("a dog", image, np.eye(16, dtype=bool), maps)], folder / "heatmaps.png")


def pictures(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def python(code, *arguments, cwd=PROJECT, **variables):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_stage_can_be_imported_where_a_notebook_started_it():
    modules = dict.fromkeys(command_of(name)[0] for name in (*ORDER, "audit", "cluster"))
    imports = "\n".join(f"import {module}" for module in modules)
    done = python(imports, MPLBACKEND=BACKENDS[0], **NOTEBOOK)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_figure_has_the_same_bytes_whatever_a_notebook_or_a_matplotlibrc_says(tmp_path, backend):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    draw(tmp_path / "here")
    settings = [f"{name}: {value}" for name, value in SETTINGS.items()]
    (tmp_path / "matplotlibrc").write_text("\n".join(settings), encoding="utf-8")
    done = python(DRAW, tmp_path / "there", cwd=tmp_path, MPLBACKEND=backend, **NOTEBOOK)
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path / "there") == pictures(tmp_path / "here")
    assert len(pictures(tmp_path / "here")) == 2


def test_the_callers_own_settings_and_figures_stay_as_they_are(tmp_path):
    (tmp_path / "changed").mkdir()
    draw(tmp_path)
    with matplotlib.rc_context(SETTINGS):
        before = dict(matplotlib.rcParams)
        draw(tmp_path / "changed")
        assert dict(matplotlib.rcParams) == before
    assert pictures(tmp_path / "changed") == pictures(tmp_path)


@pytest.mark.parametrize(("variable", "expected"), [("svg", "svg"), ("nonsense", "agg")])
def test_who_draws_beside_the_library_has_the_backend_of_the_environment(variable, expected):
    code = """
import os
from pathlib import Path
from attribution_preservation.attribution import methods
from attribution_preservation.reporting import heatmaps, panels, transfer
import matplotlib.pyplot as plt
print(plt.get_backend(), os.environ["MPLBACKEND"], plt.get_fignums())
"""
    done = python(code, MPLBACKEND=variable)
    assert done.stdout.split("\n")[0] == f"{expected} {variable} []", done.stderr
