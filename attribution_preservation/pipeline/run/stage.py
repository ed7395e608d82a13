"""What a stage may see: the parameters and dependencies that dvc.yaml declares for it, and nothing else.

DVC reruns a stage when something that it declares has changed. A stage that read more than it declares would be
skipped when it must run, so the only way to parameters leads through `Stage.parameters`, which reads dvc.yaml.
"""

import argparse
import errno
import itertools
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, TypeAdapter

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.code_manifest import check_manifest
from attribution_preservation.pipeline.run.lock import STATE, held
from attribution_preservation.pipeline.run.watchdog import end_with_dvc
from attribution_preservation.process.environment import environment
from attribution_preservation.process.rank import leads, number
from attribution_preservation.process.streams import prepare_streams, tell
from attribution_preservation.settings import validate
from attribution_preservation.storage.files import write_json
from attribution_preservation.storage.yaml_text import read_yaml

Section = TypeVar("Section", bound=BaseModel)
Value = TypeVar("Value")
ENVIRONMENTS = Path("environments")
_TEMPLATE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Stage:
    """One instance of a stage: its name in dvc.yaml and its value on each axis of the stage's matrix."""

    name: str
    axes: dict[str, str]
    declaration: dict[str, Any]
    values: dict[str, Any]

    @property
    def instance(self) -> str:
        """Its name as DVC tells it, e.g. `distill@half-swa-all`."""
        return "@".join(filter(None, (self.name, "-".join(self.axes.values()))))

    @property
    def command(self) -> str:
        """The command that DVC runs."""
        return self._fill(self.declaration["cmd"])

    @property
    def deps(self) -> list[Path]:
        """Declared dependencies, as paths from the project's root."""
        return [Path(self._fill(dep)) for dep in self.declaration.get("deps", [])]

    def dep(self, path: Path) -> Path:
        """A file or folder that this stage reads, which must be a declared dependency or lie below one.

        Raises:
            UserError: dvc.yaml does not declare it for this instance.
        """
        if not any(path == dep or dep in path.parents for dep in self.deps):
            raise UserError(f"dvc.yaml: stage {self.name} reads {path} without declaring it under deps")
        return path

    @property
    def out(self) -> Path:
        """The declared output of a stage that has one."""
        return self.outs[0]

    @property
    def outs(self) -> list[Path]:
        """Declared outputs that `main` makes, as paths from the project's root."""
        return [path for path in self.all_outs if ENVIRONMENTS not in path.parents]

    @property
    def environment(self) -> Path | None:
        """The declared output that tells with what the others were made; no stage depends on it."""
        return next((path for path in self.all_outs if ENVIRONMENTS in path.parents), None)

    @property
    def all_outs(self) -> list[Path]:
        """Every declared output."""
        entries = self.declaration.get("outs", [])
        return [Path(self._fill(entry if isinstance(entry, str) else next(iter(entry)))) for entry in entries]

    @property
    def declared_parameters(self) -> list[str]:
        """Dotted keys of params.yaml that dvc.yaml declares for this instance."""
        keys: list[str] = []
        for entry in self.declaration.get("params", []):
            if isinstance(entry, str):
                keys.append(self._fill(entry))
        return keys

    def parameters(self, key: str) -> Any:
        """Value of a dotted key of params.yaml.

        Raises:
            UserError: dvc.yaml does not declare the key, or one above it, for this stage; or params.yaml lacks it.
        """
        declared = self.declared_parameters
        if not any(key == d or key.startswith(d + ".") for d in declared):
            raise UserError(f"dvc.yaml: stage {self.name} reads the parameter {key} without declaring it under params")
        return lookup(self.values, key)

    @overload
    def section(self, key: str, schema: type[Section]) -> Section: ...
    @overload
    def section(self, key: str, schema: TypeAdapter[Value]) -> Value: ...
    def section(self, key: str, schema: Any) -> Any:
        """Value of a dotted key of params.yaml, checked against its schema."""
        return validate(schema, self.parameters(key), key)

    def declared_values(self) -> dict[str, Any]:
        """Every declared parameter with its value."""
        return {key: lookup(self.values, key) for key in self.declared_parameters}

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            key = match[1].strip()
            return self.axes[key.removeprefix("item.")] if key.startswith("item.") else str(lookup(self.values, key))

        return _TEMPLATE.sub(value, text)


def lookup(values: dict[str, Any], key: str) -> Any:
    """Value of params.yaml at a dotted key.

    Raises:
        UserError: there is no such key.
    """
    value: Any = values
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"params.yaml: {key} is missing; compare with the files in params/")
        value = value[part]
    return value


def _declarations() -> dict[str, Any]:
    """What dvc.yaml declares, by stage.

    Raises:
        UserError: it declares nothing.
    """
    stages = read_yaml(Path("dvc.yaml")).get("stages")
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise UserError("dvc.yaml: stages is missing or no mapping of stages; restore the file")
    return stages


def _declaration(name: str) -> dict[str, Any]:
    """What dvc.yaml declares for one stage.

    Raises:
        UserError: nothing.
    """
    stages = _declarations()
    if name not in stages:
        raise UserError(f"dvc.yaml has no stage {name}; restore the file")
    return stages[name]


def instances(name: str, chosen: dict[str, str] | None = None) -> Iterator[Stage]:
    """Every instance of a stage that dvc.yaml and params.yaml define, restricted to the chosen values of its axes."""
    yield from _instances(name, _declaration(name), read_yaml(Path("params.yaml")), chosen)


def _instances(
    name: str, declaration: dict[str, Any], values: dict[str, Any], chosen: dict[str, str] | None = None
) -> Iterator[Stage]:
    axes = {axis: _axis_values(spec, values) for axis, spec in declaration.get("matrix", {}).items()}
    for axis, value in (chosen or {}).items():
        if value not in axes.get(axis, []):
            raise UserError(f"stage {name} has no {axis} {value}; there are: {', '.join(axes.get(axis, []))}")
        axes[axis] = [value]
    for combination in itertools.product(*axes.values()):
        yield Stage(name, dict(zip(axes, combination, strict=True)), declaration, values)


def every_instance() -> dict[str, Stage]:
    """Every instance of every stage, by its name, in the order of dvc.yaml."""
    values, declared = read_yaml(Path("params.yaml")), _declarations()
    found = (stage for name, declaration in declared.items() for stage in _instances(name, declaration, values))
    return {stage.instance: stage for stage in found}


def strays() -> list[Path]:
    """What lies in the folders of matrix stages' outputs although no instance of this graph makes it.

    An earlier profile leaves such folders behind, since DVC forgets an instance that its graph no longer has. They
    would be hashed with the folders that hold them.
    """
    every = every_instance().values()
    owned = {out for stage in every for out in stage.all_outs}
    of_matrices = {out for stage in every if stage.axes for out in stage.all_outs}
    above = {parent for out in of_matrices for parent in out.parents if parent != Path(".")}
    found = [child for folder in above if folder.is_dir() for child in folder.iterdir()]
    return sorted(child for child in found if child not in owned | above)


def _axis_values(spec: Any, values: dict[str, Any]) -> list[str]:
    if isinstance(spec, str) and (match := _TEMPLATE.fullmatch(spec)):
        spec = lookup(values, key := match[1].strip())
        if not isinstance(spec, list | dict):
            raise UserError(f"params.yaml: {key} is neither a list nor a mapping; compare with the files in params/")
    return [str(value) for value in spec]


def run(name: str, main: Callable[[Stage], str]) -> None:
    """Run the instances of a stage that the command line asks for (all of them where it names none).

    `main` does one instance and returns the line that tells the user what was made. A foreseeable failure ends the
    process with one line and exit code 2 (docs/errors.md); `--debug` shows where it came from. So does the end of the
    DVC process that started the stage.
    """
    prepare_streams()
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    debug = "--debug" in sys.argv
    try:
        end_with_dvc(name)
        for axis in _declaration(name).get("matrix", {}):
            parser.add_argument(f"--{axis}", help="one value of this axis of the stage's matrix (default: all)")
        arguments = vars(parser.parse_args())
        debug = arguments.pop("debug")
        for stage in instances(name, {axis: value for axis, value in arguments.items() if value is not None}):
            if not leads():
                check_manifest(stage)
                main(stage)
                continue
            with held(STATE / "stages" / stage.instance, stage.instance):
                check_manifest(stage)
                made = main(stage)
                if stage.environment:
                    write_json(stage.environment, environment())
                tell(f"{name}: {made}")
    except KeyboardInterrupt:
        tell(f"{name}: interrupted; the same command goes on where it stopped", sys.stderr)
        # 128 + SIGINT, as a shell reports it. os._exit: worker threads must not delay the end.
        os._exit(130)
    except Exception as error:
        told = _foreseen(error) or _alone(error)
        if told is None:
            raise
        if debug:
            traceback.print_exc()
        who = f"{name} ({number()})" if number() else name
        tell(f"{who}: error: {_in_one_line(told)}", sys.stderr)
        # Where several processes train together, the others' end must not wait for this one's threads, nor theirs.
        sys.exit(2) if leads() else os._exit(2)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    errno.EACCES: "give yourself the right to it, or work in a folder of your own",
    errno.EPERM: "give yourself the right to it, or work in a folder of your own",
    errno.EROFS: "work in a folder that can be written",
    errno.ENOENT: "it was removed while this stage ran; run dvc repro to go on",
    errno.EIO: "the disk fails; put the project on another one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def _foreseen(error: Exception) -> str | None:
    """What to tell the user of a failure that has a known cause and remedy; None of any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno != errno.ENOMEM:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in _FULL:
            return f"no space left for writing{where}; free some and run the same command again, finished work is kept"
        remedy = _REMEDIES.get(error.errno or 0, "mend that and run the same command again")
        # torch makes this folder when it is imported, or when the first network is compiled.
        if _is_below(error.filename, os.environ.get("TORCHINDUCTOR_CACHE_DIR")):
            remedy = "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written"
        return f"{error.strerror or error}{where}; {remedy}"
    # By name: not every stage imports torch, whose processor allocator tells by its words alone.
    if (
        isinstance(error, MemoryError | OSError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    ):
        return "memory is full; lower optimization.batch_size, steps of integrated_gradients or attribute.batch_size"
    return None


def _is_below(path: Any, folder: str | None) -> bool:
    # makedirs names the part that failed, which may lie above the folder.
    parts = [Path(os.path.abspath(found)) for found in (path, folder) if isinstance(found, str) and found]
    return len(parts) == 2 and (parts[0].is_relative_to(parts[1]) or parts[1].is_relative_to(parts[0]))


def _alone(error: Exception) -> str | None:
    """What to tell where another of the processes that train together has ended; None of any other failure."""
    of_torch = type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError")
    # gloo's failures have no class of their own.
    lost = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "closed by peer"))
    return (
        "another of the processes that train together has ended; the first failure above is its"
        if (of_torch or lost)
        else None
    )


def _in_one_line(text: str) -> str:
    # A file's name may hold line breaks and letters that move the cursor.
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())
