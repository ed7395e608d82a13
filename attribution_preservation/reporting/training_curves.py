"""Means over seeds of the logs of training, by epoch and method, for `dvc plots`."""

from collections.abc import Mapping, Sequence

import pandas as pd

STEPS = ("phase", "epoch")
# What is drawn of a log, where it has it: parts of the loss, and the score of the predictions on training images.
LOGGED = ("loss", "task", "distillation", "matching", "mean_ap", "top1")


def training_curves(logs: Mapping[str, Sequence[pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Tables of one student by what was logged, one row per epoch.

    Args:
        logs: by method, one log for each seed, with the columns `phase`, `epoch` and some of `LOGGED`.

    Returns:
        Columns `step` (epochs over all phases, from 1), `phase`, `epoch`, and for every method the mean over its seeds:
        NaN where it logs no such thing, as what is not matched has no matching loss.
    """
    of_methods = {method: pd.concat(of_seeds) for method, of_seeds in logs.items()}
    means = pd.concat(of_methods, names=["method"]).groupby([*STEPS, "method"]).mean()
    tables = {}
    for quantity in (name for name in LOGGED if name in means):
        table = means[quantity].unstack("method")[list(logs)].reset_index()
        table.insert(0, "step", range(1, len(table) + 1))
        tables[quantity] = table.rename_axis(columns=None)
    return tables
