"""Differences between two records of the same artifact, and the numbers that changed with them."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from attribution_preservation.pipeline.provenance.made_with import Environments, environment_out
from attribution_preservation.pipeline.provenance.record import Entry, Record

_ABSENT = "(none)"
# Columns whose numbers identify a row.
_KEYS = ("seed", "iteration", "epoch", "phase", "step", "position", "removed [%]")


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        where: the stage instance, or the file of a number.
        kind: `command`, `parameter`, `code`, `data`, `environment`, `instance` or `number`.
        what: the parameter, the path, or the number's place.
        before, after: values or MD5s.
    """

    where: str
    kind: str
    what: str
    before: Any
    after: Any

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def changes(
    before: Record, after: Record, made_with_before: Environments | None = None, made_with: Environments | None = None
) -> Iterator[Change]:
    """Differences between two records of the instances that made an artifact, then and now.

    Args:
        before, after: instances by name.
        made_with_before, made_with: their environments. If one of the two is unknown, they are compared by MD5.
    """
    then_with, now_with = made_with_before or {}, made_with or {}
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            yield Change(
                name, "instance", "record", _ABSENT if old is None else "there", _ABSENT if new is None else "there"
            )
            continue
        if old.command != new.command:
            yield Change(name, "command", "command", old.command, new.command)
        for key, then, now in unlike(flat(old.parameters), flat(new.parameters)):
            yield Change(name, "parameter", key, then, now)
        for path, then, now in unlike(old.code, new.code):
            yield Change(name, "code", path, then, now)
        # What a stage wrote, not what the next one read: the same difference once.
        for path, then, now in unlike(_data(old), _data(new)):
            yield Change(name, "data", path, then, now)
        environments = [then_with.get(name), now_with.get(name)]
        if not all(environments):
            environments = [{out: entry.outs[out]} if (out := environment_out(entry)) else {} for entry in (old, new)]
        for what, then, now in unlike(*map(flat, environments)):
            yield Change(name, "environment", what, then, now)


def _data(entry: Entry) -> dict[str, str]:
    out = environment_out(entry)
    return {path: md5 for path, md5 in entry.outs.items() if path != out}


def flat(value: Any, above: str = "") -> dict[str, Any]:
    """A tree of mappings as dotted keys; lists are values."""
    if not isinstance(value, Mapping) or (above and not value):
        return {above: value}
    leaves: dict[str, Any] = {}
    for key, below in value.items():
        leaves |= flat(below, f"{above}.{key}" if above else str(key))
    return leaves


def unlike(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Keys whose values differ, each with both values; `(none)` for a missing key."""
    for key in dict.fromkeys([*after, *before]):
        then, now = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if then != now:
            yield key, then, now


def moved(path: str, before: str, after: str, row: int | None = None) -> Iterator[Change]:
    """Numbers of a CSV or JSON file that have changed.

    Rows of a CSV file are matched by their words and by the numbers of their steps. Rows in which these are equal are
    matched by their order.

    Args:
        path: path of the file.
        before, after: its text then and now.
        row: number of a row in the present CSV file, from 1; None for all rows.

    Raises:
        ValueError: a JSON file is not valid.
    """
    if path.endswith(".json"):
        then_of, now_of = _of_json(before), _of_json(after)
    else:
        old, new = _of_csv(before), _of_csv(after)
        if row is not None:
            place = list(new)[row - 1]
            old, new = {place: old.get(place, {})}, {place: new[place]}
        then_of, now_of = _by_place(old), _by_place(new)
    for what, then, now in unlike(then_of, now_of):
        yield Change(path, "number", what, then, now)


def _of_json(text: str) -> dict[str, Any]:
    values = flat(json.loads(text, parse_constant=str))  # NaN is never equal to itself
    return {key: value for key, value in values.items() if isinstance(value, int | float)}


def _of_csv(text: str) -> dict[str, dict[str, str]]:
    """Numbers of every row by column, by the row's key."""
    rows: dict[str, dict[str, str]] = {}
    seen: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text)):
        cells = {column: cell for column, cell in row.items() if column and cell}
        figures = {column: cell for column, cell in cells.items() if column not in _KEYS and _number(cell)}
        words = [cell for column, cell in cells.items() if column not in figures]
        name = ", ".join(words)
        seen[name] = seen.get(name, 0) + 1
        rows[name if seen[name] == 1 else f"{name} ({seen[name]})"] = figures
    return rows


def _by_place(rows: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {f"{place}: {column}": cell for place, figures in rows.items() for column, cell in figures.items()}


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
