"""Folders from which stopped runs resume: one per fingerprint, outside DVC's outputs, locked by one process.

DVC deletes a stage's outputs before it runs the stage, so the state of a run must be elsewhere. The folder's name is
the hash of everything that the run's result depends on. A changed parameter, input byte or line of code gives another
folder, so a stale state is never used.
"""

import hashlib
import json
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.pipeline.run.lock import STATE, held
from attribution_preservation.process.rank import leads
from attribution_preservation.storage.files import atomic_directory, digest, files_below, write_text

_CHANGES_NOTHING = ("workers", "jobs", "checkpoint_seconds")


def fingerprint(
    stage: Stage,
    seed: int,
    settings: Mapping[str, Any],
    inputs: Mapping[Path, Iterable[Path]],
    versions: Mapping[str, str],
) -> str:
    """Hash of everything that one run of a training stage depends on.

    Args:
        stage: the instance. Its declared parameters and dependencies are hashed, without `seed_groups` (so that a new
            seed does not change this run), `folders`, and keys of `runtime` that do not change results.
        seed: the run's own seed.
        settings: settings of this run, which replace a section that is declared for several runs.
        inputs: for a dependency with files of several runs, the files that this run reads.
        versions: names and versions of libraries and device, because floating-point results depend on them.

    Raises:
        UserError: a dependency is missing.
    """
    # By name: a file of an input by its place in that, so that moving the whole changes nothing.
    files: dict[str, Path] = {}
    for dep in stage.deps:
        for path in inputs.get(dep, [dep]):
            if not path.exists():
                raise UserError(f"{path} is missing; run the stage that makes it first (dvc repro runs all in order)")
            for file in files_below([path]):
                files[str(file.relative_to(dep) if dep in inputs else file)] = file
    others = {"seed_groups", "folders", *settings}
    parameters = {key: value for key, value in stage.declared_values().items() if key.split(".")[0] not in others}
    # Worker processes prepare the same images in the same order, however many there are; a job is a run, or several.
    # Every state leads to the same end.
    runtime = parameters.get("runtime", {})
    parameters["runtime"] = {key: value for key, value in runtime.items() if key not in _CHANGES_NOTHING}
    content = {
        "stage": stage.name,
        "student": stage.axes.get("student"),
        "seed": seed,
        "settings": dict(settings),
        "parameters": parameters,
        "files": {
            name: _digest(path, path.stat().st_size, path.stat().st_mtime_ns) for name, path in sorted(files.items())
        },
        "versions": {"python": platform.python_version(), **versions},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@cache
def _digest(path: Path, size: int, modified: int) -> str:
    """Digest of a file, taken once for all runs of a stage instance (a data set may hold gigabytes)."""
    return digest(path)


class ResumeFolder:
    """The folder of one run: `state` of the unfinished run, and `work` for its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state.safetensors"
        self.work = folder / "work"
        self._complete = folder / "complete"

    @property
    def complete(self) -> bool:
        """Whether the run has ended and `work` holds its whole result."""
        return self._complete.exists()

    def finish(self) -> None:
        """Mark `work` as the run's whole result; the state of the unfinished run is no longer needed."""
        write_text(self._complete, "")
        self.state.unlink(missing_ok=True)

    def deliver(self, out: Path) -> None:
        """Copy the result to its place among the stage's outputs."""
        with atomic_directory(out) as partial:
            for source in files_below([self.work]):
                shutil.copyfile(source, partial / source.name)


@contextmanager
def resume_folder(key: str) -> Iterator[ResumeFolder]:
    """The folder of the run with this fingerprint, locked by the leading process against other runs.

    Raises:
        UserError: another process holds the lock; the message says which.
    """
    folder = STATE / key
    with held(folder, "this very run") if leads() else nullcontext():
        if leads():
            (folder / "work").mkdir(exist_ok=True)
        yield ResumeFolder(folder)
