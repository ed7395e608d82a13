"""reports/results.csv, the one tidy table of all figures, and the headlines drawn from it."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from attribution_preservation.errors import UserError

COLUMNS = [
    "profile", "compression", "teacher", "method", "seed", "student", "iteration", "epoch", "sparsity",
    "attribution", "population", "metric", "at", "value", "n",
]  # fmt: skip
# What every stage that scores writes.
_WRITTEN = ("compression", "seed", "metric", "value")
BASELINES = {"centre": "Centre (baseline)", "random": "Random (baseline)"}
# what stands in the column `method` and is none
REFERENCES = ("teacher", *BASELINES)
# what is counted over: where an image has several classes, and where they exclude each other
_SEVERAL = {
    "own": "pairs that the network of the row itself predicts (the paper's rule)",
    "common": "pairs that the teacher and all compared methods of a student predict, the same for every row of it",
    "all": "all pairs",
}
_EXCLUSIVE = {
    "own": "every image, asked about the top class of the network of the row itself, right or wrong (the paper's rule)",
    "common": "images of which the teacher and all compared methods of a student have the same top class",
    "all": "every image, asked about its teacher's top class",
}
HEADLINES = (
    ("mean_ap", None), ("top1", None), ("roc_auc", "own"), ("roc_auc", "common"), ("point_accuracy", "own"),
    ("cosine", "all"),
)  # fmt: skip


@dataclass(frozen=True)
class Level:
    """Networks that differ in nothing but seed and method.

    Attributes:
        compression, student: as in results.csv.
        iteration: pruning iteration; None where nothing is pruned step by step.
        epoch: of training; None where only the last is kept.
    """

    compression: str
    student: str
    iteration: int | None
    epoch: int | None = None

    def of(self, results: pd.DataFrame) -> pd.DataFrame:
        """The rows of this level."""
        return select(results, **vars(self))


class Measure(NamedTuple):
    """A metric, and the value of its parameter where it has one; as in results.csv."""

    metric: str
    at: str | None = None


def result_files(groups: Iterable[str], batches: Iterable[str]) -> list[Path]:
    """Every file of results, from the project's root.

    Args:
        groups: groups of seeds.
        batches: batches of networks.
    """
    groups = list(groups)
    scores = [Path("scores", group, batch, "results.csv") for group in groups for batch in batches]
    probes = [Path("probes", group, "results.csv") for group in groups]
    retrained = [path for group in groups for path in Path("roar", group).rglob("results.csv")]
    return [*scores, *probes, *sorted(retrained)]


def read_frame(
    path: Path, columns: Iterable[str], numbers: Iterable[str], remedy: str, empty: bool = False
) -> pd.DataFrame:
    """Read a table that a stage wrote.

    Args:
        path: of the CSV file.
        columns: that it must have.
        numbers: columns that hold nothing but numbers and empty cells where they are there.
        remedy: what the user can do where it is missing or damaged, for the message.
        empty: whether it may have no row, as what probes leave that ask nothing.

    Raises:
        UserError: it is missing, breaks off, is no CSV or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise UserError(f"{path} breaks off; {remedy}")
        frame = pd.read_csv(io.StringIO(text), dtype={"at": "string"})
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {remedy}") from None
    except ValueError as error:  # pandas' and those of text that is none
        raise UserError(f"{path} is not readable as CSV: {error}; {remedy}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise UserError(f"{path} has more cells than columns; {remedy}")
    if lacking := [column for column in columns if column not in frame]:
        raise UserError(f"{path} lacks the column {lacking[0]}; {remedy}")
    for column in numbers:
        if column in frame and not (empty and frame.empty) and not pd.api.types.is_numeric_dtype(frame[column]):
            raise UserError(f"{path}: {column} holds what is no number; {remedy}")
    return frame


def read_results(paths: Iterable[Path], profile: str) -> pd.DataFrame:
    """Join files of results; columns and words as in README's "Results".

    Args:
        paths: of the files.
        profile: name of the parameters that made them.

    Raises:
        UserError: a file is missing or damaged.
    """
    parts = []
    for path in paths:
        stage = {"scores": "evaluate", "probes": "probe"}.get(path.parts[0], path.parts[0])
        numbers = ("iteration", "epoch", "seed", "value", "n")
        parts.append(read_frame(path, _WRITTEN, numbers, f"run the stage {stage} first", empty=stage == "probe"))
    # A column that is empty in one part says nothing about the joined column's type.
    results = pd.concat([part.dropna(axis=1, how="all") for part in parts], ignore_index=True)
    results["profile"] = profile
    results = results.reindex(columns=COLUMNS)
    for column in ("iteration", "epoch", "n", "seed"):
        results[column] = results[column].astype("Int64")
    # Scores say how much was pruned; what else is known of the same network does not.
    network = results.groupby(["compression", "student", "iteration", "epoch", "method", "seed"], dropna=False)
    results["sparsity"] = network["sparsity"].transform("first")
    return results


def teacher_of(results: pd.DataFrame, level: Level) -> str | None:
    """Name of the full network that a level's networks were made from; None where results do not say."""
    (name, *_) = level.of(results)["teacher"]
    return None if pd.isna(name) else str(name)


def full_network(results: pd.DataFrame, level: Level) -> pd.DataFrame:
    """Rows of the full network that a level's networks were made from."""
    return select(results, compression="teacher", teacher=teacher_of(results, level))


def full_networks(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of every full network, by name."""
    rows = select(results, compression="teacher")
    return {str(name): of_one for name, of_one in rows.groupby("teacher", sort=False)}


def values_of_at(results: pd.DataFrame, metric: str) -> list[str]:
    """The values of a metric's parameter, in the order of the results."""
    return [str(at) for at in select(results, metric=metric)["at"].dropna().unique()]


M = TypeVar("M", str, Measure)


def measured(results: pd.DataFrame, metrics: Iterable[M], population: str | None = None) -> list[M]:
    """Those of the metrics that results hold, in the order given; of pairs, only what a population has if it is named.

    Where classes exclude each other, maps of a network's own class are compared with no other network's.
    """
    if population is not None:
        results = results[results["population"].isna() | (results["population"] == population)]
    known: set[object] = set(results["metric"])
    for metric, at in results.reindex(columns=["metric", "at"]).drop_duplicates().itertuples(index=False):
        known.add(Measure(metric, None if pd.isna(at) else at))
    return [metric for metric in metrics if metric in known]


def exclusive(results: pd.DataFrame) -> bool:
    """Whether an image has one class, so that every network is asked about its own top class (supplement B)."""
    return bool((results["metric"] == "top1").any())


def populations(results: pd.DataFrame) -> dict[str, str]:
    """What is counted over, in words for a caption, by population."""
    return _EXCLUSIVE if exclusive(results) else _SEVERAL


def present(results: pd.DataFrame, methods: Iterable[str]) -> list[str]:
    """Those of the methods that some rows have, in the order given."""
    named = set(results["method"].dropna())
    return [method for method in methods if method in named]


def levels(results: pd.DataFrame, compression: str) -> list[Level]:
    """All levels of a compression, by student in the order of the results, then by iteration and epoch."""
    rows = select(results, compression=compression).dropna(subset=["student"])
    steps = rows.groupby("student", sort=False)[["iteration", "epoch"]]
    every = []
    for student, of_student in steps:
        kept = of_student.drop_duplicates().sort_values(["iteration", "epoch"]).itertuples(index=False)
        every += [Level(compression, str(student), *(None if pd.isna(k) else int(k) for k in step)) for step in kept]
    return every


def finished(course: Iterable[Level]) -> list[Level]:
    """Of each student and iteration the last level: without the snapshots of its training."""
    return list({(level.compression, level.student, level.iteration): level for level in course}.values())


def last_levels(results: pd.DataFrame, compression: str) -> list[Level]:
    """The last level of every student of a compression."""
    return list({level.student: level for level in levels(results, compression)}.values())


def compressions(results: pd.DataFrame) -> list[str]:
    """Compressions in the order of the results, without the teacher."""
    return [name for name in results["compression"].unique() if name != "teacher"]


def last_of_all(results: pd.DataFrame) -> list[Level]:
    """The last level of every student of every compression."""
    return [level for compression in compressions(results) for level in last_levels(results, compression)]


def select(results: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Rows whose columns have these values; None stands for an empty cell."""
    for column, value in where.items():
        results = results[results[column].isna() if value is None else results[column] == value]
    return results


def headline(results: pd.DataFrame, methods: Iterable[str]) -> dict[str, Any]:
    """Mean and deviation over seeds of every student's last level. `dvc metrics diff` compares these numbers."""
    figures: dict[str, Any] = {"teacher": {name: _headline(rows) for name, rows in full_networks(results).items()}}
    for compression in compressions(results):
        figures[compression] = {}
        for level in last_levels(results, compression):
            rows = level.of(results)
            entry: dict[str, Any] = {
                name: step for name in ("iteration", "epoch") if (step := getattr(level, name)) is not None
            }
            if rows["sparsity"].notna().any():
                entry["sparsity"] = round(float(rows["sparsity"].max()), 6)
            if compared := present(rows, methods):
                entry |= {method: _headline(select(rows, method=method)) for method in compared}
            else:
                entry |= _headline(select(rows, method=None))
            figures[compression][level.student] = entry
    return figures


def _headline(rows: pd.DataFrame) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for metric, population in HEADLINES:
        attribution = "grad_cam" if population else None
        values = select(rows, metric=metric, population=population, attribution=attribution)["value"].dropna()
        if len(values):
            entry = {"mean": round(float(values.mean()), 6)}
            if len(values) > 1:
                entry["deviation"] = round(float(values.std(ddof=1)), 6)
            figures[f"{metric}_{population}" if population else metric] = entry
    return figures


def shared_seeds(results: pd.DataFrame, chosen: Sequence[Level], methods: Sequence[str]) -> list[int]:
    """Seeds that every network of a table was trained with, so that no row is compared with another's seeds."""
    shared = set(results["seed"].unique())
    for level in chosen:
        rows = level.of(results)
        for method in present(rows, methods):
            shared &= set(select(rows, method=method)["seed"].unique())
    return sorted(int(seed) for seed in shared)
