"""MD5 of files and folders as in dvc.lock, computed without DVC, because importing DVC takes seconds.

A file's MD5 is that of its bytes. A folder's MD5 is that of a JSON list of its files' relative paths and MD5s, sorted
by path, with the suffix `.dir` (DVC 3, dvc_data's Tree).
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


def dvc_md5(path: Path, ignored: frozenset[str]) -> str:
    """The MD5 that DVC would write into dvc.lock for the present file or folder.

    Args:
        path: an existing file or folder.
        ignored: names of files and folders that DVC does not see, as .dvcignore lists them.
    """
    if path.is_file():
        return _of_file(path)
    files = {file.relative_to(path).as_posix(): file for file in _files(path, ignored)}
    tree = [{"md5": _of_file(files[name]), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(tree, sort_keys=True).encode()).hexdigest() + ".dir"


def ignored_names(root: Path = Path(".")) -> frozenset[str]:
    """Names that .dvcignore lists. Patterns and paths in it have no effect here."""
    path = root / ".dvcignore"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return frozenset(line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith("#"))


def _files(folder: Path, ignored: frozenset[str]) -> Iterator[Path]:
    for child in folder.iterdir():
        if child.name in ignored:
            continue
        if child.is_dir():
            yield from _files(child, ignored)
        else:
            yield child


def _of_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
