"""Trace from an artifact back to the data set: the stage instances that made it, and the inputs of each."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.provenance.record import Entry, Record, within
from attribution_preservation.pipeline.run.graph import Stage

Keep = Callable[[Stage], bool]


@dataclass(frozen=True)
class Trace:
    """The instances that made an artifact.

    Attributes:
        path: the artifact, from the project's root.
        makers: instances that made it, or a part of it.
        entries: records of the makers and of all instances upstream, by name; each comes before its inputs' makers.
        upstream: for each instance, the instances that made its inputs.
        missing: instances of the graph that made inputs but are not in the record.
    """

    path: str
    makers: list[str]
    entries: Record
    upstream: dict[str, list[str]]
    missing: list[str]


def trace(record: Record, stages: Mapping[str, Stage], path: str, keep: Keep = lambda _: True) -> Trace:
    """Follow an artifact through the record.

    Args:
        record: entries of dvc.lock.
        stages: the instances of the present graph, by name. Other instances in dvc.lock are from an earlier graph.
        path: path from the project's root.
        keep: whether an instance is relevant.

    Raises:
        UserError: no stage makes the artifact, or it has not been made yet.
    """
    declared = makers_of(stages, path)
    if not declared:
        raise UserError(
            f"{path}: no stage of dvc.yaml makes it; the outs of dvc.yaml can be audited, and what lies in them"
        )
    makers = [name for name in declared if name in record]
    if not makers:
        raise UserError(f"{path}: dvc.lock has no record of {declared[0]}, which makes it; run dvc repro")
    known = {name: entry for name, entry in record.items() if name in stages}
    entries: Record = {}
    upstream: dict[str, list[str]] = {}
    waiting = list(makers)
    while waiting:
        name = waiting.pop(0)
        if name in entries:
            continue
        entry = entries[name] = known[name]
        sources = [other for other in known if other != name and _feeds(known[other], entry) and keep(stages[other])]
        upstream[name] = sorted(sources, key=lambda other: _order(stages, other), reverse=True)
        waiting += upstream[name]
    ordered = sorted(entries, key=lambda name: _order(stages, name), reverse=True)
    read = [dep for entry in entries.values() for dep in entry.data]
    missing = [
        name
        for name, stage in stages.items()
        if name not in record
        and (name in declared or (keep(stage) and any(_overlap(dep, map(str, stage.all_outs)) for dep in read)))
    ]
    return Trace(path, makers, {name: entries[name] for name in ordered}, upstream, missing)


def makers_of(stages: Mapping[str, Stage], path: str) -> list[str]:
    """Instances of a graph that make an artifact, or a part of it, whether they have run or not."""
    return [name for name, stage in stages.items() if _overlap(path, map(str, stage.all_outs))]


def _feeds(maker: Entry, reader: Entry) -> bool:
    return any(_overlap(dep, maker.outs) for dep in reader.data)


def _overlap(path: str, outs: Iterable[str]) -> bool:
    return any(within(path, out) or within(out, path) for out in outs)


def _order(stages: Mapping[str, Stage], name: str) -> int:
    return list(stages).index(name)


def of_row(
    row: Mapping[str, Any],
    groups: Mapping[str, list[int]],
    folders: Mapping[str, str],
    methods: Mapping[str, set[str]],
    scored_by: Collection[str],
) -> Keep:
    """The function `keep` of `trace` for a row of results.csv: whether the row depends on an instance.

    Args:
        row: its cells; None for empty cells.
        groups: seeds by group.
        folders: folders below models/GROUP, by stage that trains.
        methods: methods of each entry of `matching`.
        scored_by: stages that may have written the row.
    """
    group = next((name for name, seeds in groups.items() if row["seed"] in seeds), None)
    batches = {folders[stage].split("/")[0] for stage in ("teacher", str(row["compression"])) if stage in folders}
    # Pairs that are common to all methods depend on all of them.
    alone = row["population"] != "common" and any(row["method"] in of_entry for of_entry in methods.values())

    def keep(stage: Stage) -> bool:
        axes = stage.axes
        if axes.get("group", group) != group or ("batch" in axes and axes["batch"] not in batches):
            return False
        if stage.name == "teacher":
            return row["teacher"] in (None, axes["network"])
        if stage.name in folders:
            of_student = stage.name == row["compression"] and axes["student"] == row["student"]
            return of_student and not (alone and row["method"] not in methods.get(axes["matching"], ()))
        return stage.name in scored_by or stage.name in ("attribute", "dataset", "check")

    return keep
