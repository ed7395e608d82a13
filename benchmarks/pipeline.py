"""Waiting time of a user: `dvc repro` of two profiles from a fresh clone, and again with nothing to do."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from attribution_preservation.storage.yaml_text import read_yaml
from benchmarks.measurement import Figure

# Minutes for a whole run, on two CPU cores.
TARGETS = {"smoke": 3.0, "digits": 40.0}
_NOTHING_TO_DO = 8.0  # seconds
_MEMORY = 4.0  # GB
_REPEATS = 3


def measure() -> list[Figure]:
    """Run both profiles in clones of the committed state."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for profile, minutes in TARGETS.items():
            clone = Path(folder) / profile
            subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
            # The record of an earlier run would let DVC skip what is to be measured; its cache is not in the clone.
            (clone / "dvc.lock").unlink(missing_ok=True)
            shutil.copyfile(clone / "params" / f"{profile}.yaml", clone / "params.yaml")
            seconds, memory = _timed(clone, "repro")
            figures.append(Figure(f"{profile}_repro", seconds / 60, "min", "lower", minutes))
            figures.append(Figure(f"{profile}_memory", memory / 1e9, "GB", "lower", _MEMORY))
            if profile == "digits":
                figures += outs_beside(clone / "dvc.lock", Path("dvc.lock"))
            for command in ("repro", "status"):
                times = [_timed(clone, command)[0] for _ in range(_REPEATS)]
                figures.append(
                    Figure(
                        f"{profile}_{command}_nothing_to_do",
                        statistics.median(times),
                        "s",
                        "lower",
                        _NOTHING_TO_DO,
                        (min(times), max(times)),
                    )
                )
    return figures


def outs_beside(made: Path, committed: Path) -> list[Figure]:
    """How many outs of a run have another md5 than the committed dvc.lock says: 0 on a machine of the same kind.

    Outs also differ after a change of parameters whose results are not committed yet. So a second count has only the
    stages with the same command, parameters and inputs in both.
    """
    ours, theirs = (read_yaml(path)["stages"] for path in (made, committed))
    actual, expected = (
        {out["path"]: (out["md5"], _recipe(stage)) for stage in stages.values() for out in stage["outs"]}
        for stages in (ours, theirs)
    )
    same = [path for path, (_, recipe) in actual.items() if path in expected and expected[path][1] == recipe]
    return [
        Figure(
            "digits_outs_unlike_committed",
            sum(path not in expected or expected[path][0] != md5 for path, (md5, _) in actual.items()),
            "outs",
            "lower",
            0,
        ),
        Figure("digits_outs_of_one_recipe", len(same), "outs", "higher"),
        Figure(
            "digits_outs_of_one_recipe_unlike",
            sum(actual[path][0] != expected[path][0] for path in same),
            "outs",
            "lower",
            0,
        ),
    ]


def _recipe(stage: dict) -> dict:
    return {key: stage.get(key) for key in ("cmd", "deps", "params")}


def _timed(folder: Path, command: str) -> tuple[float, float]:
    """Wall seconds of a DVC command, and the largest resident memory of all its processes together, in bytes."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # stages call `python`: this one
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", command], cwd=folder, stdout=subprocess.DEVNULL, env=os.environ | {"PATH": path}
    ) as process:
        ended, largest = threading.Event(), [0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, largest))
        watcher.start()
        code = process.wait()
        seconds = time.monotonic() - start
        ended.set()
        watcher.join()
    if code:
        raise SystemExit(f"dvc {command} failed in {folder} with exit code {code}")
    return seconds, largest[0]


def _watch(pid: int, ended: threading.Event, largest: list[int]) -> None:
    while not ended.wait(0.25):
        total = 0
        try:
            parent = psutil.Process(pid)
            for process in [parent, *parent.children(recursive=True)]:
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        largest[0] = max(largest[0], total)
