"""DVC's graph of stages and its record of them, for a scheduler other than DVC."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro

from attribution_preservation.errors import UserError
from attribution_preservation.storage.files import write_text
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml

_LOCK = Path("dvc.lock")
_NOTHING_TO_DO = "Data and pipelines are up to date."


def read_graph() -> tuple[dict[str, list[str]], set[str]]:
    """Dependencies of each stage, in the order in which `dvc repro` runs them; and the stages that are up to date.

    Raises:
        UserError: DVC cannot read the project.
    """
    try:
        with Repo() as repo:
            graph = repo.index.graph
            needs = {s.addressing: [other.addressing for other in graph.successors(s)] for s in plan_repro(graph)}
            changed = set(repo.status())
    except DvcException as error:
        raise UserError(f"dvc cannot read the project: {error}") from None
    unchanged: set[str] = set()
    for stage, needed in needs.items():
        if stage not in changed and unchanged.issuperset(needed):
            unchanged.add(stage)
    return needs, unchanged


def recorded() -> list[str]:
    """Stages in dvc.lock, in its order."""
    return list(_lock().get("stages", {}))


def put_in_order(before: list[str], order: list[str]) -> None:
    """Write dvc.lock as a single process would: first the stages that it had, then new stages in the graph's order.

    Args:
        before: the stages that dvc.lock had.
        order: order of the graph.
    """
    lock = _lock()
    stages = lock.get("stages", {})
    rank = {stage: place for place, stage in enumerate(dict.fromkeys([*before, *order]))}
    ordered = sorted(stages, key=lambda stage: rank.get(stage, len(rank)))
    if ordered != list(stages):
        write_text(_LOCK, format_yaml(lock | {"stages": {stage: stages[stage] for stage in ordered}}))


def _lock() -> dict[str, Any]:
    return read_yaml(_LOCK) if _LOCK.exists() else {}


def nothing_to_do() -> bool:
    """Run a plain `dvc repro`, and return whether it finds everything up to date."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return done.returncode == 0 and _NOTHING_TO_DO in done.stdout
