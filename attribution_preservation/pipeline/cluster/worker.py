"""Runs one stage by DVC on a worker, in a folder that all machines share, with the same code as the driver.

This module alone is sent to the workers, so it must not import other modules of the project.
"""

import ctypes
import hashlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Inputs of a stage's result, in addition to data and parameters that DVC compares.
_CODE = ("stages", "attribution_preservation", "dvc.yaml", "params.yaml")
_LIBRARIES = ("dvc", "lightning-fabric", "numpy", "pandas", "ray", "scikit-learn", "torch", "torchvision")
_PDEATHSIG = 1  # prctl(2)
_BLOCKED, _PATIENCE = "it is being blocked by", 60.0  # as DVC says it; seconds


@dataclass(frozen=True)
class Ended:
    """How a stage ended on a worker.

    Attributes:
        node: the machine's name.
        seconds: from the start of DVC to its end.
        error: the error in one line; empty if there is none.
        refused: whether the worker refused the stage because it does not belong to this run.
    """

    node: str
    seconds: float
    error: str = ""
    refused: bool = False


def code_version(root: Path) -> str:
    """Hash of the project's code and parameters, and of the libraries' versions."""
    digest = hashlib.sha256(platform.python_version().encode())
    for name in _LIBRARIES:
        digest.update(f"{name} {_version(name)}\n".encode())
    for top in _CODE:
        path = root / top
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.relative_to(root)}\n".encode())
            digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def work(root: str, stage: str, version: str, cores: int = 1) -> Ended:
    """Run one stage by `dvc repro -s`.

    Args:
        root: the project's folder.
        stage: the instance, as DVC names it.
        version: the driver's `code_version`.
        cores: number of cores that the stage may use.
    """
    node, start = platform.node(), time.monotonic()
    if not (Path(root) / "dvc.yaml").exists():
        return Ended(node, 0.0, f"{node} has no {root}; start workers where the project's folder is shared", True)
    if code_version(Path(root)) != version:
        return Ended(node, 0.0, f"{node} has another version of the code or of a library than this machine", True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages call `python`: this one
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", stage],
            cwd=root,
            env=os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1", "LOKY_MAX_CPU_COUNT": str(cores)},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            preexec_fn=_end_with_worker,
        )
        # The option does not wait for locks of single files, and the DVC of a worker that is dying may hold some.
        if not done.returncode or _BLOCKED not in done.stderr or time.monotonic() - start > _PATIENCE:
            break
        time.sleep(1)
    return Ended(node, time.monotonic() - start, _error(done) if done.returncode else "")


def _end_with_worker() -> None:
    """Called before DVC starts: lets the system kill DVC when this worker dies. The stage then ends by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _error(done: subprocess.CompletedProcess) -> str:
    """The stage's own error line if there is one, else the last line of DVC."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if ": error: " in line]
    return (errors or lines or [f"dvc ended with exit code {done.returncode}"])[-1]
