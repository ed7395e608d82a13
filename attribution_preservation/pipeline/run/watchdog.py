"""Watches the DVC process that started a stage: when DVC ends, the stage must stop.

A killed DVC does not stop its child, which would continue to write into outputs that the next DVC run deletes.
"""

import os
import sys
import threading
import time
from pathlib import Path

import psutil

from attribution_preservation.process.streams import tell

_EVERY = 0.5  # seconds between two checks


def end_with_dvc(name: str) -> None:
    """End this process within a second after the end of the DVC process that started it, if one did.

    Unfinished files keep their temporary names, as after a kill; the next start deletes them.

    Args:
        name: name of the stage, for the message.
    """
    if "DVC_STAGE" not in os.environ:  # set by DVC for the commands that it runs
        return
    dvc = _starter()
    if dvc is None:  # it ended while this process was importing its modules
        _end(name)
    else:
        threading.Thread(target=_watch, args=(name, dvc), daemon=True).start()


def _watch(name: str, dvc: psutil.Process) -> None:
    while _alive(dvc):
        time.sleep(_EVERY)
    _end(name)


def _end(name: str) -> None:
    try:
        tell(f"{name}: error: dvc has ended, so this stage stops; run dvc repro to go on", sys.stderr)
    finally:  # whoever read that may have gone with DVC
        # The main thread may be anywhere, and must not come to the end of a write that DVC no longer knows of.
        os._exit(2)


def _starter() -> psutil.Process | None:
    """The nearest ancestor process that is DVC, on the command line or inside another program."""
    ancestors = psutil.Process().parents()
    programs = (process for process in ancestors if _words(process)[:1] and "python" in Path(_words(process)[0]).name)
    return next((process for process in ancestors if _is_dvc(process)), next(programs, None))


def _is_dvc(process: psutil.Process) -> bool:
    words = _words(process)[:3]
    return any(Path(word).name in ("dvc", "dvc.exe") for word in words) or "-m dvc" in " ".join(words)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
