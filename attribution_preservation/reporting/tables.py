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
        replaced: taken over all pairs, because the row's own were too few.
    """

    mean: float
    deviation: float
    best: bool = False
    ahead: bool = False
    replaced: bool = False


@dataclass(frozen=True)
class TableRow:
    """One row: a network or baseline at one iteration."""

    name: str
    sparsity: float | None
    nonzero: float | None
    pairs: float
    cells: dict[str, Cell]


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
        minimum_pairs: below this mean number of pairs, the scores over `all` stand in, marked.
    """
    full = select(results, compression="teacher")
    seen = "own" if population == "common" else population
    rows = [_row("Teacher", select(full, attribution="grad_cam"), full, seen, minimum_pairs)]
    rows += _baselines(full, seen, minimum_pairs)
    students = select(results, compression="prune_weights")
    for iteration in iterations:
        level = select(students, iteration=iteration)
        if population == "common":
            teacher = select(level, method="teacher", attribution="grad_cam")
            rows.append(_row("Teacher", teacher, None, population, 0))
            rows += _baselines(select(level, method=None), population, 0)
        rows += _compare(
            {
                method: _row(
                    display_name(method),
                    select(level, method=method, attribution="grad_cam"),
                    select(level, method=method),
                    population,
                    minimum_pairs if population == "own" else 0,
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


def _row(name: str, maps: pd.DataFrame, network: pd.DataFrame | None, population: str, minimum_pairs: int) -> TableRow:
    counted = select(maps, population=population, metric="roc_auc")["n"].astype(float)
    pairs = float(counted.mean()) if len(counted) else float("nan")
    replaced = pairs < minimum_pairs
    used = "all" if replaced else population
    cells = {}
    for metric in METRICS:
        if metric in _OF_PAIRS:
            values = select(maps, metric=metric, population=used)["value"].dropna()
        else:
            values = network[network["metric"] == metric]["value"] if network is not None else pd.Series(dtype=float)
        cells[metric] = Cell(float(values.mean()), float(values.std(ddof=1)), replaced=replaced and metric in _OF_PAIRS)
    sparsity = maps["sparsity"].dropna()
    nonzero = network[network["metric"] == "nonzero_parameters"]["value"] if network is not None else []
    return TableRow(
        name,
        float(sparsity.mean()) if len(sparsity) else None,
        float(np.mean(nonzero)) if len(nonzero) else None,
        pairs,
        cells,
    )


def _baselines(rows: pd.DataFrame, population: str, minimum_pairs: int) -> list[TableRow]:
    names = {"centre": "Centre (baseline)", "random": "Random (baseline)"}
    return [_row(text, select(rows, attribution=name), None, population, minimum_pairs) for name, text in names.items()]


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
            row.cells[metric] = Cell(cell.mean, cell.deviation, means[method] == best, ahead, cell.replaced)
    return list(rows.values())


def _caption(table: Table, note: str) -> str:
    text = f"Iterative weight pruning, Grad-CAM. Localisation and similarity over {POPULATIONS[table.population]}. "
    text += f"Mean ± sample deviation over {table.seeds} seeds" if table.seeds > 1 else "One seed, no deviation"
    text += "; n: mean number of pairs. Bold: best of the iteration. "
    text += "†: ahead of Naive by more than the larger of the two deviations. " if table.seeds > 1 else ""
    if any(cell.replaced for row in table.rows for cell in row.cells.values()):
        text += "‡: over all pairs, because too few were predicted. "
    return text + note


def _frame(table: Table, bold: str, ahead: str, replaced: str, between: str) -> pd.DataFrame:
    rows = []
    for row in table.rows:
        shown = {
            "sparsity %": "" if row.sparsity is None else f"{100 * row.sparsity:.1f}",
            "network": row.name,
            "non-zero": "" if row.nonzero is None else f"{row.nonzero:,.0f}",
        }
        for metric, (heading, _, digits) in METRICS.items():
            shown[heading] = _text(row.cells[metric], digits, bold, ahead, replaced, between)
        shown["n"] = "" if np.isnan(row.pairs) else f"{row.pairs:.0f}"
        rows.append(shown)
    return pd.DataFrame(rows)


def _text(cell: Cell, digits: int, bold: str, ahead: str, replaced: str, between: str) -> str:
    if np.isnan(cell.mean):
        return ""
    text = f"{cell.mean:.{digits}f}"
    text = bold.format(text) if cell.best else text
    text += "" if np.isnan(cell.deviation) else f"{between}{cell.deviation:.{digits}f}"
    return text + (ahead if cell.ahead else "") + (replaced if cell.replaced else "")
