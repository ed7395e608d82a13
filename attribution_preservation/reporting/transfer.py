"""The transfer matrix: what was matched in training, against every attribution method that maps are made with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")  # no display is needed, or asked for

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from attribution_preservation.reporting.results import (
    Level,
    compressions,
    display_name,
    last_levels,
    present,
    select,
)

# metric: heading, decimals
METRICS = {
    "cosine": ("cosine to the teacher's map", 2),
    "correlation": ("correlation with the teacher's map", 2),
    "roc_auc": ("ROC-AUC [%]", 1),
    "point_accuracy": ("point accuracy [%]", 1),
}
SHOWN = ("common", "all")  # rows over their own pairs could not be compared with each other
_FROM_THE_LOGIT = ("lrp", "rap")
BASELINES = ("centre", "random")


@dataclass(frozen=True)
class Transfer:
    """One metric of one student.

    Attributes:
        mean, deviation: over seeds (ddof 1); rows: methods, the teacher first where it has the metric; columns:
            attribution methods.
        ahead: better than Naive by more than the larger of the two deviations; of the same shape.
        pairs: mean number of pairs by attribution method.
    """

    mean: pd.DataFrame
    deviation: pd.DataFrame
    ahead: pd.DataFrame
    pairs: pd.Series


def transferred(results: pd.DataFrame, methods: Sequence[str]) -> Iterator[tuple[Level, list[str], list[str]]]:
    """Levels whose networks were explained by several attribution methods, with matched methods and attributions."""
    for compression in compressions(results):
        for level in last_levels(results, compression):
            rows = level.of(results)
            named = present(rows, methods)
            rows = rows[rows["method"].isin(named)]
            attributions = [found for found in rows["attribution"].dropna().unique() if found not in BASELINES]
            if named and len(attributions) > 1:
                yield level, named, attributions


def transfer(
    results: pd.DataFrame,
    level: Level,
    methods: Sequence[str],
    attributions: Sequence[str],
    metric: str,
    population: str,
) -> Transfer:
    """The matrix of one student.

    Args:
        results: tidy results.
        level: the student's networks.
        methods: that were matched in training, in this order.
        attributions: columns, in this order.
        metric: a key of METRICS.
        population: `own`, `common` or `all`.
    """
    rows = select(level.of(results), metric=metric, population=population)
    sources = {display_name(method): select(rows, method=method) for method in methods}
    if metric not in ("cosine", "correlation"):
        teacher = select(results, compression="teacher", metric=metric, population=population)
        same = select(rows, method="teacher")
        sources = {"Teacher": same if population == "common" else teacher} | sources
    values = {
        name: {attribution: select(found, attribution=attribution)["value"].dropna() for attribution in attributions}
        for name, found in sources.items()
    }
    mean = pd.DataFrame({name: {a: v.mean() for a, v in of.items()} for name, of in values.items()}).T
    deviation = pd.DataFrame({name: {a: v.std(ddof=1) for a, v in of.items()} for name, of in values.items()}).T
    ahead = pd.DataFrame(False, index=mean.index, columns=mean.columns)
    if (naive := display_name("naive")) in mean.index:
        # NaN with one seed: nothing is ahead.
        larger = deviation.apply(lambda row: np.maximum(row, deviation.loc[naive]), axis=1)
        ahead = (mean - mean.loc[naive] > larger) & (mean.index != "Teacher")[:, None]
    counted = select(rows, method=methods[0])
    pairs = pd.Series({a: select(counted, attribution=a)["n"].astype(float).mean() for a in attributions})
    return Transfer(mean, deviation, ahead, pairs)


def transfer_markdown(matrices: dict[str, Transfer], title: str, note: str, seeds: int) -> str:
    """All metrics of one student, one table below the other, as markdown."""
    text = f"{title}. Rows: what was matched in training; columns: what maps are made with. "
    text += f"Mean ± sample deviation over {seeds} seeds; " if seeds > 1 else "One seed, no deviation; "
    text += "n: mean number of pairs; costly methods explain fewer, evenly spaced. "
    text += "†: ahead of Naive by more than the larger of the two deviations. "
    if signed := [display_name(a) for a in next(iter(matrices.values())).mean.columns if a in _FROM_THE_LOGIT]:
        names = " and ".join(signed)
        text += f"The relevance of {names} begins with the logit: maps turn over where the class is not predicted. "
    parts = [text + note]
    for metric, found in matrices.items():
        heading, digits = METRICS[metric]
        shown = pd.DataFrame(
            {
                heading: name,
                **{
                    display_name(a): _cell(found.mean.at[name, a], found.deviation.at[name, a], digits)
                    + ("†" if found.ahead.at[name, a] else "")
                    for a in found.mean.columns
                },
            }
            for name in found.mean.index
        )
        shown.loc[len(shown)] = ["n", *(f"{count:.0f}" for count in found.pairs)]
        parts.append(shown.to_markdown(index=False, disable_numparse=True))
    return "\n\n".join(parts) + "\n"


def transfer_csv(matrices: dict[tuple[str, str], Transfer]) -> str:
    """Tidy CSV of matrices by (population, metric), in full precision."""
    rows = [
        {
            "population": population,
            "metric": metric,
            "matched": name,
            "attribution": attribution,
            "mean": found.mean.at[name, attribution],
            "deviation": found.deviation.at[name, attribution],
            "n": found.pairs[attribution],
        }
        for (population, metric), found in matrices.items()
        for name in found.mean.index
        for attribution in found.mean.columns
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def draw_transfer(matrices: dict[str, Transfer], title: str, path: Path) -> None:
    """The matrix as a heat map, one panel per metric; every cell bears its mean, and † as in the table."""
    columns = max(len(found.mean.columns) for found in matrices.values())
    figure, axes = plt.subplots(
        len(matrices), 1, figsize=(2.5 + 0.85 * columns, 2.6 * len(matrices)), layout="constrained", squeeze=False
    )
    for ax, (metric, found) in zip(axes[:, 0], matrices.items(), strict=True):
        heading, digits = METRICS[metric]
        values = found.mean.to_numpy(dtype=float)
        image = ax.imshow(values, cmap="cividis", aspect="auto")
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for i, name in enumerate(found.mean.index):
            for j, attribution in enumerate(found.mean.columns):
                mark = "†" if found.ahead.at[name, attribution] else ""
                color = "black" if values[i, j] > middle else "white"
                ax.text(j, i, f"{values[i, j]:.{digits}f}{mark}", ha="center", va="center", fontsize=8, color=color)
        names = [fill(display_name(a).replace("_", " "), 13) for a in found.mean.columns]
        ax.set_xticks(range(len(names)), names, fontsize=7)
        ax.set_yticks(range(len(found.mean.index)), found.mean.index, fontsize=8)
        ax.set_ylabel("matched in training", fontsize=8)
        figure.colorbar(image, ax=ax, label=heading, pad=0.01)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _cell(mean: float, deviation: float, digits: int) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if np.isnan(deviation) else f" ± {deviation:.{digits}f}")
