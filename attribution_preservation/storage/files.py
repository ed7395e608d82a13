"""Atomic files and folders: everything is written to a temporary path and then moved to its place."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; move it to `path` when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        _flush(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder next to `path`; it replaces `path` when the block ends without an exception.

    The old contents of `path` stay unchanged until then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    previous = path.with_name(f".{path.name}.previous")
    if previous.exists() and not path.exists():  # a process was killed between the two moves below
        os.replace(previous, path)
    for stale in (partial, previous):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            os.replace(path, previous)
        os.replace(partial, path)
    except BaseException:
        if previous.exists() and not path.exists():
            os.replace(previous, path)
        raise
    finally:
        for stale in (partial, previous):
            shutil.rmtree(stale, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of one file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def files_below(paths: Iterable[Path]) -> list[Path]:
    """All files among `paths` and below them, sorted, without byte-compiled Python."""
    files: set[Path] = set()
    for path in paths:
        files.update(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else files.add(path)
    return sorted(p for p in files if "__pycache__" not in p.parts)


def _flush(path: Path) -> None:
    # A rename can reach the disk before the data. After a power cut the file would then exist but be empty.
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
