"""Line plots side by side, one panel per metric. All figures of scores are drawn with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from attribution_preservation.drawing import blank_figure, default_settings, write_figure
from attribution_preservation.storage.csv_text import csv_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers tell the lines apart in print.
STYLES = (
    ("#000000", "o"), ("#E69F00", "s"), ("#0072B2", "^"), ("#009E73", "D"), ("#CC79A7", "v"), ("#56B4E9", "P"),
    ("#D55E00", "X"),
)  # fmt: skip
# Results have those that their classes allow.
SCORES = ("mean_ap", "top1", "roc_auc", "point_accuracy", "cosine")


@dataclass(frozen=True)
class Line:
    """One line, or loose points.

    Attributes:
        name: in the legend.
        x, mean, deviation: NaN where there is no value, or no deviation.
        style: which of STYLES; None for a thin dashed grey line.
        joined: whether the points are joined; loose ones have error bars instead of a band.
    """

    name: str
    x: Sequence[float]
    mean: Sequence[float]
    deviation: Sequence[float]
    style: int | None = None
    joined: bool = True


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        label: of the y axis.
        lines: what is drawn.
        x_label: of the x axis.
        ticks: positions on the x axis and their texts; None lets matplotlib choose.
        logarithmic: of the x axis.
    """

    label: str
    lines: list[Line]
    x_label: str
    ticks: tuple[Sequence[float], Sequence[str]] | None = None
    logarithmic: bool = False


@default_settings()
def draw_panels(rows: list[list[Panel]], title: str, path: Path, width: float = 4.2) -> None:
    """Draw rows of panels, each row of the same length, into a PNG whose bytes depend on nothing else.

    A CSV file next to it has the numbers: one row per point, in full precision.

    Args:
        rows: the panels.
        title: above them.
        path: the file; the numbers have its name and the suffix `.csv`.
        width: of a panel in inches.
    """
    figure = blank_figure(width * len(rows[0]), 3.8 * len(rows))
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for line_of_axes, line_of_panels in zip(axes, rows, strict=True):
        for ax, panel in zip(line_of_axes, line_of_panels, strict=True):
            _draw(ax, panel)
    # Below all panels, where it hides no line; each name once.
    named = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    columns = max(1, int(width * len(rows[0]) / 2))  # of about two inches
    figure.legend(named.values(), named.keys(), fontsize=8, loc="outside lower center", ncols=columns)
    figure.suptitle(title, fontsize=11)
    write_figure(figure, path)
    numbers = pd.DataFrame([point for row in rows for panel in row for point in _points(panel)])
    path.with_suffix(".csv").write_text(csv_text(numbers), encoding="utf-8", newline="\n")


def _points(panel: Panel) -> Iterator[dict[str, object]]:
    for line in panel.lines:
        for x, mean, deviation in zip(line.x, line.mean, line.deviation, strict=True):
            yield {
                "y": panel.label,
                "x": panel.x_label,
                "line": line.name,
                "position": x,
                "mean": mean,
                "deviation": deviation,
            }


def over_seeds(seeds: int, what: str) -> str:
    """How a title says what points and bands are."""
    return f"mean over {seeds} seeds, {what}: one deviation" if seeds > 1 else "one seed"


def _draw(ax: "Axes", panel: Panel) -> None:
    for line in panel.lines:
        x, mean, deviation = (np.asarray(values, dtype=float) for values in (line.x, line.mean, line.deviation))
        if line.style is None:
            ax.plot(x, mean, color="#666666", linestyle="--", linewidth=1, label=line.name)
            continue
        color, marker = STYLES[line.style % len(STYLES)]
        if line.joined:
            ax.plot(x, mean, color=color, marker=marker, markersize=4, label=line.name)
            ax.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)
        else:
            bars = np.nan_to_num(deviation)
            ax.errorbar(
                x, mean, bars, color=color, marker=marker, markersize=5, linestyle="", capsize=2, label=line.name
            )
    if panel.logarithmic:
        ax.set_xscale("log")
        ax.minorticks_off()
    if panel.ticks:
        ax.set_xticks(*panel.ticks)
    ax.set_xlabel(panel.x_label)
    ax.set_ylabel(panel.label)
    ax.grid(alpha=0.25)
