"""Checks that all files and parameters of a trace still agree with dvc.lock."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attribution_preservation.pipeline.provenance.compare import flat, unlike
from attribution_preservation.pipeline.provenance.hashes import dvc_md5, ignored_names
from attribution_preservation.pipeline.provenance.record import Record, within
from attribution_preservation.pipeline.provenance.trace import Trace
from attribution_preservation.pipeline.run.graph import Stage

_FOOTER = re.compile(r"fingerprint\W*([0-9a-f]{16})")


def differences(trace: Trace, stages: Mapping[str, Stage], root: Path = Path(".")) -> Iterator[str]:
    """Every contradiction between the record, the files and params.yaml, in words.

    Missing files (outputs that were not pulled) and incomplete folders are not contradictions. The record may also
    contradict itself: a stage may have read an older version of a file than the one that its maker has written since.

    Args:
        trace: the trace to check.
        stages: the instances of the present graph, by name.
        root: root folder of the project.
    """
    for name in trace.missing:
        yield f"{name} is not in dvc.lock, although {trace.path} is made from what it makes: run dvc repro"
    yield from _of_parameters(trace.entries, stages)
    recorded: dict[str, dict[str, list[str]]] = {}
    for name, entry in trace.entries.items():
        for path, md5 in (*entry.code.items(), *entry.data.items(), *entry.outs.items(), *entry.others):
            recorded.setdefault(path, {}).setdefault(md5, []).append(name)
    ignored, lacking = ignored_names(root), set(absent(trace, stages, root))
    here = [path for path in recorded if path not in lacking]
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        actual = dict(zip(here, pool.map(lambda path: dvc_md5(root / path, ignored), here), strict=True))
    for path, by_md5 in recorded.items():
        for md5, names in by_md5.items():
            if path in actual and actual[path] != md5:
                yield f"{path} is {actual[path]}; {md5} by the record of {_several(names)}"
        if path not in actual and len(by_md5) > 1:
            yield f"{path} has {len(by_md5)} versions in the record: run dvc repro"
    yield from _of_footer(trace, root)


def absent(trace: Trace, stages: Mapping[str, Stage], root: Path = Path(".")) -> list[str]:
    """Paths of a trace that cannot be compared, because they are missing or incomplete.

    Args:
        trace, stages, root: as for `differences`.
    """
    gone = [out for stage in stages.values() for out in map(str, stage.all_outs) if not (root / out).exists()]
    paths = dict.fromkeys(path for entry in trace.entries.values() for path in (*entry.code, *entry.data, *entry.outs))
    return [path for path in paths if not (root / path).exists() or any(within(out, path) for out in gone)]


def _of_parameters(entries: Record, stages: Mapping[str, Stage]) -> Iterator[str]:
    for name, entry in entries.items():
        stage = stages[name]
        if entry.command != stage.command:
            yield f"{name}: the command is {stage.command}; {entry.command} by its record"
        declared: dict[str, Any] = stage.declared_values()
        if not declared:  # the whole of params.yaml
            declared = stage.values
        for key, then, now in unlike(flat(entry.parameters), flat(declared)):
            yield f"{name}: {key} is {now} in params.yaml, {then} by its record"


def _of_footer(trace: Trace, root: Path) -> Iterator[str]:
    """A table with a fingerprint must have the fingerprint of its maker."""
    path = root / trace.path
    if path.suffix not in (".md", ".tex", ".html") or not path.is_file():
        return
    fingerprints = _FOOTER.findall(path.read_text(encoding="utf-8", errors="replace"))
    made_by = {trace.entries[name].fingerprint for name in trace.makers}
    for fingerprint in fingerprints:
        if fingerprint not in made_by:
            yield f"{trace.path} bears the fingerprint {fingerprint}; {' and '.join(sorted(made_by))} by the record"


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
