"""Scores against sparsity, one line per method."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed, or asked for

import matplotlib.pyplot as plt
import pandas as pd

from attribution_preservation.reporting.results import display_name, methods_of, select

# metric: axis label, attribution, population of the numbers in reports/plots
CURVES = {
    "mean_ap": ("mAP [%]", None, None),
    "roc_auc": ("ROC-AUC [%]", "grad_cam", "own"),
    "point_accuracy": ("point accuracy [%]", "grad_cam", "own"),
    "cosine": ("cosine to the teacher's map", "grad_cam", "all"),
}
# Okabe and Ito's colours, which colour-blind readers can tell apart; markers tell the lines apart in print.
STYLES = (("#000000", "o"), ("#E69F00", "s"), ("#0072B2", "^"), ("#009E73", "D"), ("#CC79A7", "v"), ("#56B4E9", "P"))


def curve_table(results: pd.DataFrame, metric: str, population: str | None) -> pd.DataFrame:
    """Mean over seeds by iteration, one column per method and one with its deviation, for `dvc plots` and figures."""
    attribution = CURVES[metric][1]
    rows = select(results, compression="prune_weights", metric=metric, population=population, attribution=attribution)
    table = rows.groupby("iteration")["sparsity"].mean().to_frame()
    for method in methods_of(results):
        values = select(rows, method=method).groupby("iteration")["value"]
        table[method] = values.mean()
        table[f"{method}_deviation"] = values.std(ddof=1)
    return table.reset_index()


def draw_curves(results: pd.DataFrame, population: str, path: Path) -> None:
    """One panel per metric: mean over seeds as a line, one deviation as a band, the teacher as a dashed line."""
    figure, panels = plt.subplots(1, len(CURVES), figsize=(4.2 * len(CURVES), 3.8), layout="constrained")
    for panel, (metric, (label, attribution, _)) in zip(panels, CURVES.items(), strict=True):
        counted = population if attribution else None
        table = curve_table(results, metric, counted)
        for method, (color, marker) in zip(methods_of(results), STYLES, strict=False):
            mean, deviation = table[method].astype(float), table[f"{method}_deviation"].astype(float)
            panel.plot(table["iteration"], mean, color=color, marker=marker, markersize=4, label=display_name(method))
            panel.fill_between(table["iteration"], mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)
        teacher = _teacher(results, metric, counted, table["iteration"])
        panel.plot(table["iteration"], teacher, color="#666666", linestyle="--", linewidth=1, label="Teacher")
        ticks = table["iteration"].tolist()[:: max(1, len(table) // 6)]
        shown = table.set_index("iteration")["sparsity"]
        panel.set_xticks(ticks, [f"{100 * shown[k]:.0f}" for k in ticks])
        panel.set_xlabel("pruned convolution weights [%]")
        panel.set_ylabel(label)
        panel.grid(alpha=0.25)
    panels[0].legend(fontsize=8)
    seeds = results["seed"].nunique()
    over = f"mean over {seeds} seeds, band: one deviation" if seeds > 1 else "one seed"
    figure.suptitle(f"Iterative weight pruning, pairs: {population}; {over}", fontsize=11)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _teacher(results: pd.DataFrame, metric: str, population: str | None, iterations: pd.Series) -> list[float]:
    """The teacher's mean by iteration: on that iteration's common pairs, or the same value everywhere."""
    attribution = CURVES[metric][1]
    rows = select(results, metric=metric, attribution=attribution, population=population)
    if population == "common":
        values = select(rows, method="teacher").groupby("iteration")["value"].mean()
        return [float(values.get(iteration, float("nan"))) for iteration in iterations]
    return [float(select(rows, compression="teacher")["value"].mean())] * len(iterations)
