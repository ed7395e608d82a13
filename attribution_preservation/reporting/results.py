"""reports/results.csv, the one tidy table of all figures, and the headlines drawn from it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from attribution_preservation.errors import UserError

COLUMNS = [
    "profile", "compression", "method", "seed", "student", "iteration", "sparsity",
    "attribution", "population", "metric", "value", "n",
]  # fmt: skip
COMPRESSIONS = ("teacher", "prune_weights")
NAMES = {"naive": "Naive", "ewa": "EWA", "swa": "SWA", "sswa": "SSWA", "teacher": "Teacher"}
HEADLINES = (
    ("mean_ap", None), ("roc_auc", "own"), ("roc_auc", "common"), ("point_accuracy", "own"), ("cosine", "all"),
)  # fmt: skip


def read_results(scores: Path, groups: Iterable[str], profile: str) -> pd.DataFrame:
    """Join the scores of all compressions and groups of seeds; columns and words as in README's "Results".

    Args:
        scores: folder that the stage evaluate fills.
        groups: groups of seeds.
        profile: name of the parameters that made them.

    Raises:
        UserError: a file is missing.
    """
    parts = []
    for compression in COMPRESSIONS:
        for group in groups:
            path = scores / compression / group / "results.csv"
            if not path.exists():
                raise UserError(f"{path} is missing; run the stage evaluate first")
            parts.append(pd.read_csv(path))
    # A column that is empty in one part says nothing about the joined column's type.
    results = pd.concat([part.dropna(axis=1, how="all") for part in parts], ignore_index=True)
    results["profile"] = profile
    results = results.reindex(columns=COLUMNS)
    for column in ("iteration", "n", "seed"):
        results[column] = results[column].astype("Int64")
    return results


def display_name(method: str) -> str:
    """A method's name as people write it; a name of the user's own stays as it is."""
    return NAMES.get(method, method)


def methods_of(results: pd.DataFrame) -> list[str]:
    """Matching methods in the order of the results."""
    students = results[results["iteration"].notna() & results["method"].notna() & (results["method"] != "teacher")]
    return list(students["method"].unique())


def select(results: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Rows whose columns have these values; None stands for an empty cell."""
    for column, value in where.items():
        results = results[results[column].isna() if value is None else results[column] == value]
    return results


def headline(results: pd.DataFrame) -> dict[str, Any]:
    """Mean and deviation over seeds at the last iteration, by method: what `dvc metrics diff` compares."""
    last = int(results["iteration"].max())
    students = select(results, compression="prune_weights", iteration=last)
    methods = {method: _headline(select(students, method=method)) for method in methods_of(results)}
    return {
        "teacher": _headline(select(results, compression="teacher")),
        "prune_weights": {"iteration": last, "sparsity": round(float(students["sparsity"].max()), 6), **methods},
    }


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
