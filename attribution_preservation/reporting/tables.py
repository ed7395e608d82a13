"""Tables as people read them: mean and deviation over seeds, best value bold, all of it computed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from attribution_preservation.reporting.results import display_name, methods_of, select

POPULATIONS = {
    "own": "pairs that the network of the row itself predicts (the paper's rule)",
    "common": "pairs that the teacher and all methods of an iteration predict, the same for every row of it",
    "all": "all pairs",
}
# metric: heading, whether more is better, decimals
METRICS = {
    "mean_ap": ("mAP %", True, 1),
    "sample_ap": ("sample AP %", True, 1),
    "f1": ("F1 %", True, 1),
    "roc_auc": ("ROC-AUC %", True, 1),
    "point_accuracy": ("point acc. %", True, 1),
    "cosine": ("cosine", True, 3),
    "l2": ("l2", False, 3),
}
_OF_PAIRS = ("roc_auc", "point_accuracy", "cosine", "l2")


@dataclass(frozen=True)
class Cell:
    """One figure over seeds.

    Attributes:
        mean, deviation: over seeds (ddof 1); NaN where there is no figure, or one seed.
        best: the best mean of its metric among the methods of one iteration.
        ahead: better than Naive by more than the larger of the two deviations.
    """

    mean: float
    deviation: float
    best: bool = False
    ahead: bool = False


@dataclass(frozen=True)
class TableRow:
    """One row: a network or baseline at one iteration.

    Attributes:
        name: as shown.
        sparsity, nonzero: share of pruned weights and number of parameters that are left; None where not applicable.
        pairs: mean number of pairs over seeds; NaN where nothing was counted.
        cells: figures by metric.
        replaced: the pairs are all pairs, because those of the table's population were too few.
    """

    name: str
    sparsity: float | None
    nonzero: float | None
    pairs: float
    cells: dict[str, Cell]
    replaced: bool = False


@dataclass(frozen=True)
class Table:
    """Rows and what they were counted over."""

    population: str
    seeds: int
    rows: list[TableRow]


def summarize(results: pd.DataFrame, population: str, iterations: list[int], minimum_pairs: int) -> Table:
    """The table of one population.

    Args:
        results: tidy results.
        population: `own`, `common` or `all`.
        iterations: pruning iterations that become rows.
        minimum_pairs: where a network of an iteration (or the teacher) has fewer `own` pairs than this with some seed,
            the scores over `all` stand in for that whole iteration, marked.
    """
    full = select(results, compression="teacher")
    maps = select(full, attribution="grad_cam")
    replaced = population == "own" and _fewest(maps) < minimum_pairs
    seen = "all" if replaced else population
    rows = [_row("Teacher", maps, full, seen, replaced)]
    rows += _baselines(full, seen, replaced) if population != "common" else []
    students = select(results, compression="prune_weights")
    for iteration in iterations:
        level = select(students, iteration=iteration)
        if population == "common":
            teacher = select(level, method="teacher", attribution="grad_cam")
            rows.append(_row("Teacher, same pairs", teacher, None, population))
            rows += _baselines(select(level, method=None), population)
        replaced = population == "own" and _fewest(select(level, attribution="grad_cam")) < minimum_pairs
        rows += _compare(
            {
                method: _row(
                    display_name(method),
                    select(level, method=method, attribution="grad_cam"),
                    select(level, method=method),
                    "all" if replaced else population,
                    replaced,
                )
                for method in methods_of(results)
            }
        )
    return Table(population, results["seed"].nunique(), rows)


def markdown_table(table: Table, note: str) -> str:
    """Markdown, with its caption above."""
    frame = _frame(table, "**{}**", "†", "‡", " ± ")
    return f"{_caption(table, note)}\n\n{frame.to_markdown(index=False, disable_numparse=True)}\n"


def latex_table(table: Table, note: str, label: str) -> str:
    """LaTeX (booktabs), with caption and label."""
    frame = _frame(table, "\\textbf{{{}}}", "$^\\dagger$", "$^\\ddagger$", " $\\pm$ ")
    frame.columns = [column.replace("%", "\\%") for column in frame.columns]
    caption = _caption(table, note).replace("%", "\\%").replace("†", "$^\\dagger$").replace("‡", "$^\\ddagger$")
    align = "rl" + "r" * (len(frame.columns) - 2)
    return frame.to_latex(index=False, escape=False, caption=caption, label=f"tab:{label}", column_format=align)


def csv_table(table: Table) -> str:
    """CSV with means and deviations as numbers in full precision."""
    rows = []
    for row in table.rows:
        figures = {
            f"{metric}_{part}": getattr(cell, part)
            for metric, cell in row.cells.items()
            for part in ("mean", "deviation")
        }
        rows.append({"name": row.name, "sparsity": row.sparsity, "nonzero": row.nonzero, "n": row.pairs, **figures})
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _row(
    name: str, maps: pd.DataFrame, network: pd.DataFrame | None, population: str, replaced: bool = False
) -> TableRow:
    counted = select(maps, population=population, metric="roc_auc")["n"].astype(float)
    cells = {}
    for metric in METRICS:
        if metric in _OF_PAIRS:
            values = select(maps, metric=metric, population=population)["value"].dropna()
        else:
            values = network[network["metric"] == metric]["value"] if network is not None else pd.Series(dtype=float)
        cells[metric] = Cell(float(values.mean()), float(values.std(ddof=1)))
    sparsity = maps["sparsity"].dropna()
    nonzero = network[network["metric"] == "nonzero_parameters"]["value"] if network is not None else []
    return TableRow(
        name,
        float(sparsity.mean()) if len(sparsity) else None,
        float(np.mean(nonzero)) if len(nonzero) else None,
        float(counted.mean()) if len(counted) else float("nan"),
        cells,
        replaced,
    )


def _fewest(maps: pd.DataFrame) -> int:
    """The smallest number of own pairs among networks and seeds."""
    return int(select(maps, population="own", metric="roc_auc")["n"].min())


def _baselines(rows: pd.DataFrame, population: str, replaced: bool = False) -> list[TableRow]:
    names = {"centre": "Centre (baseline)", "random": "Random (baseline)"}
    return [_row(text, select(rows, attribution=name), None, population, replaced) for name, text in names.items()]


def _compare(rows: dict[str, TableRow]) -> list[TableRow]:
    """Mark the best of each metric, and what is ahead of Naive by more than one deviation."""
    for metric, (_, more, _) in METRICS.items():
        sign = 1 if more else -1
        means = {method: sign * row.cells[metric].mean for method, row in rows.items()}
        if all(np.isnan(v) for v in means.values()):
            continue
        best = max(value for value in means.values() if not np.isnan(value))
        naive = rows["naive"].cells[metric] if "naive" in rows else None
        for method, row in rows.items():
            cell = row.cells[metric]
            ahead = naive is not None and means[method] - sign * naive.mean > max(cell.deviation, naive.deviation)
            row.cells[metric] = Cell(cell.mean, cell.deviation, means[method] == best, ahead)
    return list(rows.values())


def _caption(table: Table, note: str) -> str:
    text = f"Iterative weight pruning, Grad-CAM. Localisation and similarity over {POPULATIONS[table.population]}. "
    text += f"Mean ± sample deviation over {table.seeds} seeds" if table.seeds > 1 else "One seed, no deviation"
    text += "; n: mean number of pairs. Bold: best of the iteration. "
    text += "†: ahead of Naive by more than the larger of the two deviations. " if table.seeds > 1 else ""
    if any(row.replaced for row in table.rows):
        text += "‡: localisation and similarity over all pairs, because too few were predicted. "
    return text + note


def _frame(table: Table, bold: str, ahead: str, replaced: str, between: str) -> pd.DataFrame:
    rows = []
    for row in table.rows:
        shown = {
            "sparsity %": "" if row.sparsity is None else f"{100 * row.sparsity:.1f}",
            "network": row.name + (replaced if row.replaced else ""),
            "non-zero": "" if row.nonzero is None else f"{row.nonzero:,.0f}",
        }
        for metric, (heading, _, digits) in METRICS.items():
            shown[heading] = _text(row.cells[metric], digits, bold, ahead, between)
        shown["n"] = "" if np.isnan(row.pairs) else f"{row.pairs:.0f}"
        rows.append(shown)
    return pd.DataFrame(rows)


def _text(cell: Cell, digits: int, bold: str, ahead: str, between: str) -> str:
    if np.isnan(cell.mean):
        return ""
    text = f"{cell.mean:.{digits}f}"
    text = bold.format(text) if cell.best else text
    text += "" if np.isnan(cell.deviation) else f"{between}{cell.deviation:.{digits}f}"
    return text + (ahead if cell.ahead else "")
