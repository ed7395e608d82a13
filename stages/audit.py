"""Which parameters made this table? From any artifact back to the data set: commands, parameters, hashes, versions.

A command, not a stage. It reads dvc.lock, and neither imports DVC nor needs its cache.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.provenance.compare import Change, changes, moved
from attribution_preservation.pipeline.provenance.history import commit_of, commits, text_at
from attribution_preservation.pipeline.provenance.made_with import SUMMARY, Environments, environments_of
from attribution_preservation.pipeline.provenance.record import Record, read_record
from attribution_preservation.pipeline.provenance.rows import row_of, sources_of
from attribution_preservation.pipeline.provenance.text import as_dict, as_text, changes_text
from attribution_preservation.pipeline.provenance.trace import Keep, Trace, makers_of, trace
from attribution_preservation.pipeline.provenance.verification import absent, differences
from attribution_preservation.pipeline.run.graph import Stage, every_instance
from attribution_preservation.process.streams import prepare_streams, tell

RESULTS = "reports/results.csv"


def main() -> None:
    """Print what made an artifact; with --check, exit with 1 if anything shown is not what dvc.lock says."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` closes the pipe
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m stages.audit", description=__doc__)
    parser.add_argument("artifact", help=f"a table, figure, metric, network or other output, or {RESULTS}:ROW")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a tree")
    parser.add_argument("--diff", metavar="REV", help="what differs from another commit, and which numbers moved")
    parser.add_argument("--check", action="store_true", help="compare everything shown with the files that are here")
    arguments = parser.parse_args()
    try:
        sys.exit(_audit(arguments))
    except UserError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"{error.strerror or error} ({error.filename})")


def _refuse(why: str) -> None:
    tell(f"audit: error: {' '.join(why.split())}", sys.stderr)
    sys.exit(2)


def _audit(arguments: argparse.Namespace) -> int:
    path, number = _artifact(arguments.artifact)
    record, stages = _record(), every_instance()
    row = row_of(path, number) if number else None
    keep: Keep = sources_of(row, stages) if row else lambda _: True
    traced = trace(record, stages, path, keep)
    environments = environments_of(traced.entries, _text(Path(SUMMARY)))
    answer: dict[str, Any] = as_dict(traced, commits(path), environments)
    if row:
        answer["row"] = row
    if arguments.diff is not None:
        differing = _changes(traced, environments, keep, arguments.diff) + _moved(path, number, arguments.diff)
        answer["diff"] = [change.as_dict() for change in differing]
        text = changes_text(differing, arguments.diff)
    else:
        text = as_text(traced, answer["commit"], environments)
    wrong = list(differences(traced, stages)) if arguments.check else []
    if arguments.check:
        answer["differences"], answer["not_here"] = wrong, absent(traced, stages)
        if lacking := answer["not_here"]:
            text += f"check: {len(lacking)} paths are not here (dvc pull) and were not compared: {', '.join(lacking)}\n"
        text += "".join(f"check: {line}\n" for line in wrong or ["all as dvc.lock says"])
    if row:
        text = ", ".join(f"{column} {cell}" for column, cell in row.items() if cell is not None) + "\n\n" + text
    tell(json.dumps(answer, indent=2) if arguments.json else text.rstrip())
    return 1 if wrong else 0


def _artifact(artifact: str) -> tuple[str, int | None]:
    """Path from the project's root and, of results.csv, a row.

    Raises:
        UserError: it is not in the project, or there is no such file.
    """
    name, _, row = artifact.partition(":")
    if not name:
        raise UserError("no artifact is named; name a table, figure, metric, network or other output")
    root = Path.cwd()
    # An output may be a link to another disk, and the project may be called by one.
    inside = next(
        (
            path.relative_to(root).as_posix()
            for path in (Path(os.path.abspath(name)), Path(name).resolve())
            if path.is_relative_to(root)
        ),
        None,
    )
    if inside is None:
        raise UserError(f"{name} is not in the project {root}; run this in the project's root folder")
    if row and (inside != RESULTS or not row.isdecimal() or not int(row)):
        raise UserError(f"{artifact}: only rows of {RESULTS} are told apart, counted from 1 below its heading")
    if not Path(inside).exists():
        raise UserError(f"{name} is not here; dvc repro makes it, or dvc pull brings it")
    return inside, int(row) if row else None


def _text(path: Path) -> str | None:
    """A file's text; None where it is not there."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _record() -> Record:
    text = _text(Path("dvc.lock"))
    if text is None:
        raise UserError("dvc.lock is missing, so nothing tells what made what; run dvc repro")
    return read_record(text, manifest=lambda path: _text(Path(path)))


def _changes(traced: Trace, environments: Environments, keep: Keep, revision: str) -> list[Change]:
    """Differences in the making of the artifact from another commit, by the graph and the record of that commit."""
    commit = commit_of(revision)
    files = {name: text_at(commit, name) for name in ("dvc.yaml", "params.yaml", "dvc.lock")}
    lacking = [name for name, text in files.items() if text is None]
    if lacking:
        raise UserError(f"{revision} has no {lacking[0]}; take a commit of a run")
    record = read_record(str(files["dvc.lock"]), f"dvc.lock of {revision}", lambda path: text_at(commit, path))
    graph = _graph(files)
    makers = makers_of(graph, traced.path)
    if makers and not any(name in record for name in makers):
        raise UserError(
            f"dvc.lock of {revision} has no record of {makers[0]}, which makes {traced.path} there; "
            "take the commit of a run"
        )
    # Without a maker nothing had made it yet.
    then = trace(record, graph, traced.path, keep).entries if makers else {}
    made_with = environments_of(then, text_at(commit, SUMMARY))
    return list(changes(then, traced.entries, made_with, environments))


def _graph(files: dict[str, str | None]) -> dict[str, Stage]:
    """Every instance by a dvc.yaml and params.yaml that are not the present ones."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, text in files.items():
            Path(name).write_text(str(text), encoding="utf-8")
        return every_instance()


def _moved(path: str, row: int | None, revision: str) -> list[Change]:
    commit = commit_of(revision)
    for numbers in _numbers(path):
        then, now = text_at(commit, numbers), _text(Path(numbers))
        if then is None or now is None:
            continue
        try:
            return list(moved(numbers, then, now, row))
        except ValueError:
            raise UserError(f"{numbers} is no JSON, here or in {revision}; restore it") from None
    return []


def _numbers(path: str) -> list[str]:
    """Where the numbers of a table or figure may stand as such; the first one that is there has them."""
    if path.endswith((".csv", ".json")):
        return [path]
    stem = str(Path(path).with_suffix(""))
    # A transfer matrix has all of its populations in one file.
    return [f"{stem}.csv", f"{stem.rpartition('_')[0]}.csv"]


if __name__ == "__main__":
    main()
