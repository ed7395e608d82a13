"""Code manifest: the files of the project's code that a stage instance uses, with hashes. DVC compares manifests.

The stage `code` writes one manifest for every other instance, `data/code/INSTANCE.txt`, and each instance depends on
its own manifest. So a changed module reruns only the instances that use it. A manifest has only those entries (see
`attribution_preservation.entries`) that the instance's parameters name. So a new entry does not rerun finished
instances.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attribution_preservation.errors import UserError

if TYPE_CHECKING:
    from attribution_preservation.pipeline.run.graph import Stage

MANIFESTS = Path("data/code")
CODE = ("stages", "attribution_preservation")  # folders of the project's own modules
# Where params.yaml names entries: the section, or None for any section, the key that holds the name, and the package
# of the entries.
_ENTRIES = (
    ("attribute", "maps", "attribution_preservation/attribution"),
    ("matching", "maps", "attribution_preservation/matching"),
    ("data", "source", "attribution_preservation/data"),
    (None, "architecture", "attribution_preservation/models"),
)
_COMPRESSIONS = Path("attribution_preservation/compression")


def manifest_of(stage: "Stage") -> str:
    """One line for each file that an instance uses: its MD5, and its path from the project's root."""
    return "".join(f"{_md5(path)}  {path}\n" for path in sorted(_used_by(stage)))


def read_manifest(text: str) -> dict[str, str]:
    """MD5 by path."""
    lines = (line.split("  ", 1) for line in text.splitlines())
    return {path: md5 for md5, path in lines}


def check_manifest(stage: "Stage") -> None:
    """Refuse to run code that differs from the instance's manifest, by which DVC and resume states identify the code.

    Raises:
        UserError: the manifest is missing, or belongs to other code or other parameters.
    """
    path = MANIFESTS / f"{stage.instance}.txt"
    if path not in stage.deps:
        return
    if not path.exists():
        raise UserError(f"{path} is missing; run python -m stages.code first (dvc repro runs all in order)")
    listed = read_manifest(path.read_text(encoding="utf-8"))
    for name in [*listed, *map(str, _entries(stage))]:
        if not Path(name).is_file() or _md5(Path(name)) != listed.get(name):
            raise UserError(
                f"{name} is not as {path} says; run python -m stages.code first (dvc repro runs all in order)"
            )


def _used_by(stage: "Stage") -> set[Path]:
    modules = _closure([Path("stages", f"{stage.module}.py"), *_entries(stage)])
    folders = {module.parent for module in modules}
    return modules | {path for folder in folders for path in _beside(folder)}


def _entries(stage: "Stage") -> list[Path]:
    """Modules of the entries that an instance's parameters name. The schema refuses names without a module."""
    # A module that serves several stages loads the entry of the stage's name.
    modules = {_COMPRESSIONS / f"{stage.name}.py"} if stage.module != stage.name else set()
    for key, value in stage.declared_values().items():
        for section, word, package in _ENTRIES:
            if section in (None, key.split(".")[0]):
                modules |= {Path(package, f"{name}.py") for name in _named(value, word)}
        if key == "data":  # the settings of the data sources have their names
            modules |= {Path("attribution_preservation/data", f"{name}.py") for name in value}
    return sorted(path for path in modules if path.is_file())


def _named(value: Any, word: str) -> Iterator[str]:
    """Every text under the key `word`, at any depth of a value of params.yaml."""
    if isinstance(value, dict):
        if isinstance(name := value.get(word), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for below in value:
            yield from _named(below, word)


def _closure(modules: Iterable[Path]) -> set[Path]:
    done: set[Path] = set()
    waiting = set(modules)
    while waiting:
        done.add(module := waiting.pop())
        waiting |= _imported(module, _md5(module)) - done
    return done


@functools.cache
def _imported(module: Path, md5: str) -> frozenset[Path]:
    """Files of the project that a module imports, at any place in it, and the `__init__.py` of their packages."""
    names: list[str] = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] in CODE:
            packages = [Path(*parts[:count], "__init__.py") for count in range(1, len(parts) + 1)]
            files |= {path for path in (Path(*parts).with_suffix(".py"), *packages) if _says_something(path)}
    return frozenset(files)


def _says_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _beside(folder: Path) -> list[Path]:
    """Files that a package's modules may read: files in its folder, and in its subfolders that are not packages."""
    files: list[Path] = []
    for child in folder.iterdir():
        if child.is_file() and child.suffix != ".py":
            files.append(child)
        elif child.is_dir() and child.name != "__pycache__" and not (child / "__init__.py").exists():
            files += _beside(child)
    return files


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
