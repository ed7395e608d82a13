"""Environment of each instance, from the file next to its output or from the summary in git."""

import hashlib
import json
from pathlib import Path
from typing import Any

from attribution_preservation.pipeline.provenance.hashes import dvc_md5
from attribution_preservation.pipeline.provenance.record import Entry, Record

SUMMARY = "reports/environments.json"
Environments = dict[str, dict[str, Any] | None]


def environments_of(entries: Record, summary: str | None, root: Path = Path(".")) -> Environments:
    """The environment of each instance; None if no file here has the recorded environment.

    A file is used only if its MD5 is the recorded one. Files of earlier runs and edited files are ignored.

    Args:
        entries: entries of dvc.lock.
        summary: text of reports/environments.json; None if it does not exist.
        root: root folder of the project.
    """
    by_instance = _by_instance(summary)
    return {
        name: _own(entry, root)
        or (environment if (environment := by_instance.get(name)) and _recorded(entry, environment, summary) else None)
        for name, entry in entries.items()
    }


def environment_out(entry: Entry) -> str | None:
    """The output with an instance's environment; None for an instance that computes nothing."""
    return next((out for out in entry.outs if Path(out).parts[0] == "environments" or out == SUMMARY), None)


def _own(entry: Entry, root: Path) -> dict[str, Any] | None:
    out = environment_out(entry)
    if out in (None, SUMMARY) or not (path := root / out).is_file() or dvc_md5(path, frozenset()) != entry.outs[out]:
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _recorded(entry: Entry, environment: dict[str, Any], summary: str | None) -> bool:
    out = environment_out(entry)
    # The bytes of the file that this environment was written to, by write_json.
    text = summary if out == SUMMARY else json.dumps(environment, indent=2) + "\n"
    return out is not None and text is not None and hashlib.md5(text.encode()).hexdigest() == entry.outs[out]


def _by_instance(summary: str | None) -> dict[str, dict[str, Any]]:
    try:
        return {name: entry["environment"] for entry in json.loads(summary or "[]") for name in entry["instances"]}
    except (ValueError, KeyError, TypeError):
        return {}
