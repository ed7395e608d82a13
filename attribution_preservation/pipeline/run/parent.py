"""The DVC process above a stage: when it is gone, the stage must stop by itself."""

from pathlib import Path

import psutil

from attribution_preservation.errors import UserError


class Parent:
    """The DVC process that started this one, if one did.

    When DVC is killed, its child is not told and would go on writing into outputs that the next DVC run deletes.
    """

    def __init__(self) -> None:
        ancestors = psutil.Process().parents()
        self._dvc = next((p for p in ancestors if _is_dvc(p)), None)

    def check(self) -> None:
        """Raise if the DVC process that started this one is gone."""
        if self._dvc is not None and not _alive(self._dvc):
            raise UserError(f"dvc (process {self._dvc.pid}) has ended, so this stage stops; run dvc repro to go on")


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_dvc(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()[:3]
    except psutil.Error:
        return False
    return any(Path(word).name in ("dvc", "dvc.exe") for word in words) or "-m dvc" in " ".join(words)
