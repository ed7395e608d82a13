"""The graph of stages. A stage sees the parameters and dependencies that dvc.yaml declares for it, and nothing else.

DVC reruns a stage when something that it declares has changed. A stage that read more than it declares would be
skipped when it must run, so the only way to parameters leads through `Stage.parameters`, which reads dvc.yaml.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, TypeAdapter

from attribution_preservation.errors import UserError
from attribution_preservation.settings import validate
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
        """DVC's name of the instance, e.g. `distill@half-swa-all`."""
        return "@".join(filter(None, (self.name, "-".join(self.axes.values()))))

    @property
    def command(self) -> str:
        """The command that DVC runs."""
        return self._fill(self.declaration["cmd"])

    @property
    def module(self) -> str:
        """The module of `stages` that does it."""
        return module_of(self.declaration)

    @property
    def deps(self) -> list[Path]:
        """Declared dependencies, as paths from the project's root."""
        return [Path(self._fill(dep)) for dep in self.declaration.get("deps", [])]

    def dep(self, path: Path) -> Path:
        """A file or folder that this stage reads; it must be a declared dependency or be below one.

        Raises:
            UserError: dvc.yaml does not declare it for this instance.
        """
        if not any(path == dep or dep in path.parents for dep in self.deps):
            raise UserError(f"dvc.yaml: stage {self.name} reads {path} without declaring it under deps")
        return path

    def out(self, path: Path) -> Path:
        """A file or folder that this stage makes, which must be a declared output.

        Raises:
            UserError: dvc.yaml does not declare it for this instance.
        """
        if path not in self.outs:
            raise UserError(f"dvc.yaml: stage {self.name} makes {path} without declaring it under outs")
        return path

    @property
    def only_out(self) -> Path:
        """The declared output of a stage that makes one.

        Raises:
            UserError: dvc.yaml declares none, or several.
        """
        if len(self.outs) != 1:
            raise UserError(f"dvc.yaml: stage {self.name} makes one output and declares {len(self.outs)} under outs")
        return self.outs[0]

    @property
    def outs(self) -> list[Path]:
        """Declared outputs that `main` makes, as paths from the project's root."""
        return [path for path in self.all_outs if ENVIRONMENTS not in path.parents]

    @property
    def environment(self) -> Path | None:
        """The declared output with the environment of the run; no stage depends on it."""
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
        """Value of a dotted key of params.yaml, checked against its schema.

        dvc.yaml declares the key or a key above it. For a stage that uses a part of a section, it declares the schema's
        fields one by one.
        """
        declared = self.declared_parameters
        by_fields = key not in declared and any(other.startswith(f"{key}.") for other in declared)
        if by_fields and isinstance(schema, type):
            return validate(schema, {name: self.parameters(f"{key}.{name}") for name in schema.model_fields}, key)
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


def axes_of(name: str) -> list[str]:
    """The axes of a stage's matrix.

    Raises:
        UserError: dvc.yaml has no such stage.
    """
    return list(_declaration(name).get("matrix", {}))


def served_by(module: str) -> list[str]:
    """Names of the stages whose command is a module of `stages`; its own name where dvc.yaml has none."""
    named = [name for name, declaration in _declarations().items() if module_of(declaration) == module]
    return named or [module]


def command_of(name: str) -> list[str]:
    """The words after `python -m` that run every instance of a stage: a module, and the stage if it serves several.

    Raises:
        UserError: dvc.yaml has no such stage.
    """
    words = str(_declaration(name).get("cmd", "")).split()[2:]
    return list(itertools.takewhile(lambda word: not word.startswith("--"), words))


def module_of(declaration: dict[str, Any]) -> str:
    """The module of `stages` that a stage's command runs: the last part of its name."""
    words = str(declaration.get("cmd", "")).split()
    return words[2].removeprefix("stages.") if len(words) > 2 else ""


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
    stages = (stage for name, declaration in declared.items() for stage in _instances(name, declaration, values))
    return {stage.instance: stage for stage in stages}


def strays() -> list[Path]:
    """Files and folders among the outputs of matrix stages that no instance of this graph makes.

    An earlier profile leaves such folders behind, because DVC forgets instances that are no longer in its graph. They
    would be hashed with their parent folders.
    """
    every = every_instance().values()
    owned = {out for stage in every for out in stage.all_outs}
    of_matrices = {out for stage in every if stage.axes for out in stage.all_outs}
    above = {parent for out in of_matrices for parent in out.parents if parent != Path(".")}
    children = [child for folder in above if folder.is_dir() for child in folder.iterdir()]
    return sorted(child for child in children if child not in owned | above)


def _axis_values(spec: Any, values: dict[str, Any]) -> list[str]:
    if isinstance(spec, str) and (match := _TEMPLATE.fullmatch(spec)):
        spec = lookup(values, key := match[1].strip())
        if not isinstance(spec, list | dict):
            raise UserError(f"params.yaml: {key} is neither a list nor a mapping; compare with the files in params/")
    return [str(value) for value in spec]
