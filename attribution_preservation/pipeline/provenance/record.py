"""Records of all stage instances in dvc.lock."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.provenance.fingerprint import fingerprint
from attribution_preservation.pipeline.run.code_manifest import MANIFESTS, read_manifest
from attribution_preservation.storage.yaml_text import parse_yaml


@dataclass(frozen=True)
class Entry:
    """Record of the last run of one instance.

    Attributes:
        name: DVC's name of the instance, e.g. `distill@half-paper-all`.
        command: the command that was run.
        parameters: parameters by dotted key, as dvc.yaml declares them.
        deps, outs: MD5 by path; a folder's MD5 ends in `.dir`.
        modules: MD5 of each module that it used, by path, if its manifest is known.
        others: paths that the record lists twice with different MD5s, and the MD5 of the first listing. Two parameters
            of a stage may name the same path.
    """

    name: str
    command: str
    parameters: dict[str, Any] = field(default_factory=dict)
    deps: dict[str, str] = field(default_factory=dict)
    outs: dict[str, str] = field(default_factory=dict)
    others: tuple[tuple[str, str], ...] = ()
    modules: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """See `attribution_preservation.pipeline.provenance.fingerprint`."""
        return fingerprint(self.command, self.parameters, self.deps)

    @functools.cached_property
    def code(self) -> dict[str, str]:
        """The project's code that it used: modules, or the manifest's file if its contents are unknown."""
        return self.modules or {path: md5 for path, md5 in self.deps.items() if _is_manifest(path)}

    @functools.cached_property
    def data(self) -> dict[str, str]:
        """The dependencies that other stages make, without the manifest."""
        return {path: md5 for path, md5 in self.deps.items() if not _is_manifest(path)}


Record = dict[str, Entry]


def read_record(
    text: str, where: str = "dvc.lock", manifest: Callable[[str], str | None] = lambda path: None
) -> Record:
    """Every entry of a dvc.lock, including instances that are no longer in the graph.

    Args:
        text: text of the file.
        where: the file, for the error message.
        manifest: function from a manifest's path to its text at the same time, or None. A manifest that does not have
            the recorded MD5 is ignored.

    Raises:
        UserError: the text is not a dvc.lock.
    """
    try:
        stages = parse_yaml(text)["stages"]
        return {name: _entry(name, stage, manifest) for name, stage in stages.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{where} is damaged; restore it (git checkout dvc.lock)") from None


def _entry(name: str, stage: Mapping[str, Any], manifest: Callable[[str], str | None]) -> Entry:
    parameters: dict[str, Any] = {}
    for of_file in stage.get("params", {}).values():
        parameters |= of_file
    listed = {kind: [(file["path"], file["md5"]) for file in stage.get(kind, [])] for kind in ("deps", "outs")}
    deps, outs = (dict(files) for files in listed.values())
    last = deps | outs
    others = tuple((path, md5) for files in listed.values() for path, md5 in files if last[path] != md5)
    modules: dict[str, str] = {}
    for path in filter(_is_manifest, deps):
        known = manifest(path)
        if known is not None and hashlib.md5(known.encode()).hexdigest() == deps[path]:
            modules |= read_manifest(known)
    return Entry(name, stage["cmd"], parameters, deps, outs, others, modules)


def _is_manifest(path: str) -> bool:
    return Path(path).parent == MANIFESTS


@functools.cache  # of a graph the same paths are compared again and again
def within(path: str, folder: str) -> bool:
    """Whether a path equals a folder or file, or is below it; both are relative to the project's root."""
    return Path(folder) in (Path(path), *Path(path).parents)
