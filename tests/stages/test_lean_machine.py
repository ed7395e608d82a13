"""A rented GPU machine has no DVC: what trains and explains there loads without it, and without what it never needs."""

import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from tests.stages.test_graph import closure

STAGES = ("teacher", "compress", "attribute", "probe", "roar")
BLOCKED = ("dvc", "ray", "vl_convert", "zennit", "altair", "onnx", "quantus", "playwright", "h5py")
LOADS = """
import importlib, sys
sys.modules |= dict.fromkeys({blocked!r})  # whoever imports one of them is told that it is not there
for name in {names!r}:
    importlib.import_module(name)
"""


def load(*names):
    code = LOADS.format(blocked=BLOCKED, names=names)
    return subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)


def test_every_module_behind_a_stage_that_computes_loads_without_what_orchestrates_and_draws():
    files = {path for name in STAGES for path in closure(PROJECT / "stages" / f"{name}.py")}
    # Entries are loaded by their names.
    lists = ("attribution/methods.py", "matching/losses.py", "compression/compressions.py", "data/sources.py")
    files |= {path for name in lists for path in closure(PROJECT / "attribution_preservation" / name)}
    names = sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files)
    names.append("benchmarks.gpu.sequence")
    assert {"attribution_preservation.training.loop", "attribution_preservation.attribution.rise"} <= set(names)
    done = load(*names)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("blocked", ["dvc", "zennit"])
def test_what_is_blocked_is_not_there(blocked):
    done = load(blocked)
    assert "ModuleNotFoundError" in done.stderr
    assert blocked in done.stderr
