"""Download the wheels that a GPU machine without a network lacks: `python -m benchmarks.gpu.pack FOLDER`.

The script follows the imports of the code and the requirements of the distributions that it finds. MACHINE lists the
distributions of the machine; their own requirements are there as well.
"""

import argparse
import ast
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from attribution_preservation.errors import UserError
from attribution_preservation.process.streams import prepare_streams, tell

# docs/gpu.md names such a machine. (Fabric comes with pytorch-lightning there.)
MACHINE = (
    "torch", "torchvision", "lightning-fabric", "numpy", "pandas", "scikit-learn", "scipy", "safetensors", "pillow",
    "matplotlib", "timm", "onnx", "onnxruntime",
)  # fmt: skip
# What runs there: the command, and the stages that it starts.
ROOTS = (
    "benchmarks.__main__", "benchmarks.gpu.sequence",
    *(f"stages.{name}" for name in (
        "code",
        "check", "dataset", "teacher", "compress", "attribute", "evaluate",
        "probe", "roar",
    )),
)  # fmt: skip
_OURS = ("attribution_preservation", "benchmarks", "stages")
MOST = 64 * 2**20  # bytes that may travel, code and data included


def main() -> None:
    """Download the wheels, and say how large they are."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the wheels go")
    parser.add_argument("--python", default="3.12", help="the machine's (default: 3.12)")
    arguments = parser.parse_args()
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in missing(MACHINE)]
    platforms = [word for level in ("2014", "_2_28") for word in ("--platform", f"manylinux{level}_x86_64")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", arguments.python, *platforms, "--dest", str(arguments.folder), *pinned]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("benchmarks.gpu.pack: pip could not download these wheels; its message is above")
    size = sum(path.stat().st_size for path in arguments.folder.glob("*.whl"))
    tell(f"{len(pinned)} wheels, {size / 2**20:.1f} MiB in {arguments.folder}: {', '.join(pinned)}")
    if size > MOST:
        raise SystemExit(f"benchmarks.gpu.pack: more than {MOST / 2**20:.0f} MiB")


def missing(machine: Iterable[str]) -> list[str]:
    """Distributions that the code needs and the machine lacks, sorted.

    Raises:
        UserError: something that the code imports is not installed here.
    """
    of_module = importlib.metadata.packages_distributions()
    needed = set()
    for module in imported(ROOTS):
        if module not in of_module:
            raise UserError(f"{module} is imported and not installed here; pip install -r requirements-dev.txt")
        # A namespace has several; the one that is named as its module is meant, or else the first.
        names = sorted(set(map(canonicalize_name, of_module[module])))
        needed.add(canonicalize_name(module) if canonicalize_name(module) in names else names[0])
    there = with_needs(machine)
    return sorted(with_needs(needed - there, there) - there)


def with_needs(names: Iterable[str], known: Iterable[str] = ()) -> set[str]:
    """Distributions with those that they need, directly or not; what is known is not followed."""
    done: set[str] = set()
    waiting = {canonicalize_name(name) for name in names}
    while waiting:
        done.add(name := waiting.pop())
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of a machine's, that is not here
        requirements = (Requirement(line) for line in lines)
        needed = {canonicalize_name(r.name) for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})}
        waiting |= needed - done - set(known)
    return done


def imported(roots: Iterable[str]) -> set[str]:
    """Top-level modules that are neither ours nor Python's, of some modules and all of ours that they import.

    An import inside a function counts as well, except below `TYPE_CHECKING`.
    """
    modules: set[str] = set()
    done: set[str] = set()
    waiting = set(roots)
    while waiting:
        done.add(name := waiting.pop())
        path = _file(name)
        if path is None:
            continue
        for target in _targets(ast.parse(path.read_text(encoding="utf-8"))):
            if target.split(".")[0] in _OURS:
                waiting |= {target} - done
            elif (top := target.split(".")[0]) not in sys.stdlib_module_names:
                modules.add(top)
    return modules


def _targets(tree: ast.AST) -> Iterable[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _targets(node)


def _file(module: str) -> Path | None:
    base = Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"benchmarks.gpu.pack: {error}") from None
