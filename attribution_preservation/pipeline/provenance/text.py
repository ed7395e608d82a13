"""A trace as text for readers, and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attribution_preservation.pipeline.provenance.compare import Change
from attribution_preservation.pipeline.provenance.made_with import environment_out
from attribution_preservation.pipeline.provenance.record import Entry
from attribution_preservation.pipeline.provenance.trace import Trace
from attribution_preservation.storage.yaml_text import format_yaml_line

Environments = Mapping[str, Mapping[str, Any] | None]


def as_dict(trace: Trace, commits: Mapping[str, Any], environments: Environments) -> dict[str, Any]:
    """The whole trace, for JSON: `instances` by name, each with its inputs."""
    return {
        "artifact": trace.path,
        "made_by": trace.makers,
        "commit": dict(commits),
        "missing": trace.missing,
        "instances": {
            name: {
                "command": entry.command,
                "fingerprint": entry.fingerprint,
                "environment": environments.get(name),
                "parameters": entry.parameters,
                "code": entry.code,
                "data": entry.data,
                "outs": entry.outs,
                "made_from": trace.upstream[name],
            }
            for name, entry in trace.entries.items()
        },
    }


def as_text(trace: Trace, commits: Mapping[str, Any], environments: Environments) -> str:
    """A tree from the artifact back to the data set. The code, which instances mostly share, is listed below it."""
    lines = [trace.path, *_commits(commits), ""]
    printed: set[str] = set()
    for name in trace.makers:
        lines += _instance(trace, name, environments, printed, "")
    lines += [f"{name} (not in dvc.lock; run dvc repro)" for name in trace.missing]
    lines += ["", "code (path, md5, how many of these instances read it)"]
    versions: dict[tuple[str, str], int] = {}
    for entry in trace.entries.values():
        for version in entry.code.items():
            versions[version] = versions.get(version, 0) + 1
    lines += [f"  {path}  {md5}  {count}" for (path, md5), count in sorted(versions.items())]
    return "\n".join(lines) + "\n"


def _commits(commits: Mapping[str, Any]) -> Iterator[str]:
    if commits["head"] is None:
        yield "commit: none, git does not have this project"
        return
    yield f"commit: {commits['head']}{', changed since (uncommitted)' if commits['changed'] else ''}"
    yield f"last commit that changed it: {commits['artifact'] or 'none, it is not in git but in the cache of DVC'}"
    yield f"last commit that changed dvc.lock: {commits['record'] or 'none'}"


def _instance(trace: Trace, name: str, environments: Environments, printed: set[str], indent: str) -> Iterator[str]:
    if name in printed:
        yield f"{indent}{name} (above)"
        return
    printed.add(name)
    entry = trace.entries[name]
    yield f"{indent}{name}"
    for line in (
        f"command: {entry.command}",
        f"fingerprint: {entry.fingerprint}",
        f"made with: {environment_text(environments.get(name), entry)}",
        *_listed("parameters", _parameters(entry)),
        *_listed("data", [f"{path}  {md5}" for path, md5 in entry.data.items()]),
        *_listed("outs", [f"{path}  {md5}" for path, md5 in entry.outs.items()]),
    ):
        yield f"{indent}│   {line}"
    for other in trace.upstream[name]:
        yield from _instance(trace, other, environments, printed, f"{indent}│ ")


def _parameters(entry: Entry) -> list[str]:
    if entry.name == "check":
        return ["all of params.yaml, which this stage checks; each is told where it is used"]
    return [f"{key}: {format_yaml_line(value)}" for key, value in entry.parameters.items()]


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return [f"{heading}:", *(f"  {line}" for line in lines)] if lines else []


def environment_text(environment: Mapping[str, Any] | None, entry: Entry) -> str:
    """The environment of an instance, in one line."""
    if environment_out(entry) is None:
        return "not told, as it computes nothing"
    if environment is None:
        return "not told here; dvc pull brings the file that tells"
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    python, device, cuda = environment["python"], environment["device"], environment["cuda"]
    return f"Python {python}, {libraries or 'no library'}; {device}, CUDA {cuda or 'none'}"


def changes_text(changes: Sequence[Change], revision: str, most: int = 200) -> str:
    """Differences from another commit, one line each; numbers beyond a limit are only counted."""
    if not changes:
        return f"nothing that made it differs from {revision}, and no number moved\n"
    lines = [f"what differs from {revision} (then -> now)"]
    causes = [change for change in changes if change.kind != "number"]
    for name in dict.fromkeys(change.where for change in causes):
        lines.append(name)
        lines += [
            f"  {change.kind} {change.what}: {format_yaml_line(change.before)} -> {format_yaml_line(change.after)}"
            for change in causes
            if change.where == name
        ]
    numbers = [change for change in changes if change.kind == "number"]
    lines.append(f"{len(numbers)} numbers moved")
    lines += [f"  {change.what}: {change.before} -> {change.after}" for change in numbers[:most]]
    if len(numbers) > most:
        lines.append(f"  and {len(numbers) - most} more (--json has all)")
    return "\n".join(lines) + "\n"
