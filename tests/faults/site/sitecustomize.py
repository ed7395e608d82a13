"""Faults of a stage's process, from within: Python imports this file at its start where PYTHONPATH leads to it.

It acts on `python -m stages.NAME` alone, so a DVC process and its other stages stay as they are. The variables:

    FAULT_STAGE   NAME, or * for every stage
    FAULT         what happens, and when; a change is one of the project's files opened for writing, made, moved or
                  removed, the Nth counts from 1:
        kill:N        SIGKILL before the Nth change
        another:N     the same in a process that the stage has started, which counts on from there
        saved:N       SIGKILL before the change that follows the Nth saving of a run's state
        later:S       SIGKILL after S seconds, wherever the process is then
        cut:BYTES     killed in the middle of the first write that brings a file to more than BYTES
        full:N        no file grows from the Nth change on: the disk is full
        stop:N        SIGSTOP before the Nth change, until somebody sends SIGCONT
        orphan:N      the DVC process above is killed before the Nth change, which then takes a minute, so that a
                      short stage is not at its end before it looks; with 0 before anything else
        user:N        before the Nth change root becomes nobody
        remove:PATH   PATH is removed when it is opened for reading
    FAULT_LOG     a folder outside the project, where the file NAME gets a line for every access to the project's
                  files: `change` (of a file that is moved: from where), `moved` (to where), `read` or `list`,
                  and the path
"""

import os
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

_ROOT = Path.cwd()
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")
_LISTINGS = ("os.listdir", "os.scandir")


class _Fault:
    def __init__(self, kind: str, value: str, log: str | None) -> None:
        self._kind, self._value, self._busy = kind, value, threading.local()
        self._changes = self._saves = 0
        self._stage = os.getpid()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else None
        if kind == "cut":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and the write would fail instead
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), int(value)))
        if kind == "orphan" and int(value) == 0:
            self._orphan()
        if kind == "later":
            threading.Thread(target=self._later, args=(float(value),), daemon=True).start()

    def __call__(self, event: str, arguments: tuple) -> None:
        if getattr(self._busy, "now", False):  # what happens in here is none of the stage's doing
            return
        self._busy.now = True
        try:
            if event == "open":
                path, mode, flags = arguments
                writes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & _WRITES)
                self._seen(path, "change" if writes else "read")
            elif event in _CHANGES:
                self._seen(arguments[0], "change")
                if event == "os.rename":
                    self._seen(arguments[1], "moved")
            elif event in _LISTINGS:
                self._seen(arguments[0], "list")
        finally:
            self._busy.now = False

    def _seen(self, path: object, access: str) -> None:
        if not isinstance(path, str | bytes | os.PathLike):  # a file descriptor, opened before
            return
        absolute = Path(os.path.normpath(_ROOT / os.fsdecode(path)))
        if not absolute.is_relative_to(_ROOT) or (access == "change" and "__pycache__" in absolute.parts):
            return
        name = str(absolute.relative_to(_ROOT))
        if self._log is not None:
            os.write(self._log, f"{access} {name}\n".encode())
        if access == "read" and self._kind == "remove" and name == self._value:
            shutil.rmtree(absolute) if absolute.is_dir() else absolute.unlink(missing_ok=True)
        if access == "moved" and absolute.name == "state.safetensors":
            self._saves += 1
        if access == "change":
            self._changes += 1
            if self._kind == "saved" and self._saves == int(self._value):
                self._kill()
            if self._kind == "another" and self._changes == int(self._value) and os.getpid() != self._stage:
                self._kill()
            if self._kind in ("kill", "full", "stop", "orphan", "user") and self._changes == int(self._value):
                getattr(self, f"_{self._kind}")()
                if self._kind == "orphan":
                    threading.Event().wait(60)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _later(self, seconds: float) -> None:
        time.sleep(seconds)
        self._kill()

    def _stop(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def _full(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def _user(self) -> None:
        os.setegid(65534)
        os.seteuid(65534)

    def _orphan(self) -> None:
        import psutil

        above = next(p for p in psutil.Process().parents() if "-m dvc" in " ".join(p.cmdline()[:3]))
        above.kill()


def _stage() -> str | None:
    words = dict(zip(sys.orig_argv, sys.orig_argv[1:], strict=False))
    package, _, name = words.get("-m", "").partition(".")
    if name == "compress":  # which serves several stages
        name = words.get("stages.compress")
    return name if package == "stages" and os.environ.get("FAULT_STAGE") in (name, "*") else None


if (_name := _stage()) is not None:
    _folder = os.environ.get("FAULT_LOG")
    _fault = _Fault(*os.environ.get("FAULT", "none:").split(":", 1), f"{_folder}/{_name}" if _folder else None)
    sys.addaudithook(_fault)
