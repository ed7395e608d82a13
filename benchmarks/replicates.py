"""How much of a result is the machine? Committed runs of one profile side by side: `python -m benchmarks.replicates`.

The same parameters and seeds, but other last bits of the arithmetic, from which training takes another path: as good as
other seeds. Their results are read from this repository's history.
"""

import io
import subprocess
from pathlib import Path

import pandas as pd

# What computed; the commit that holds the results, None for those at hand.
RUNS = {
    "two threads, first kind of processor": "f793fee",
    "two threads, second kind": "bf61669",
    "one thread, second kind": None,
}
STUDENTS = (
    ("prune_weights", "one_shot_60"),
    ("prune_weights", "one_shot_90"),
    ("prune_weights", "iterative"),
    ("prune_channels", "rate_70"),
    ("distill", "half"),
)
METHODS = ("ewa", "swa", "sswa")
# Metric, population of pairs (None: of images), what it is called, decimals.
METRICS = (
    ("cosine", "common", "Cosine of the Grad-CAM maps to the teacher's, common pairs", 3),
    ("roc_auc", "common", "ROC-AUC of the Grad-CAM maps, common pairs, points", 1),
    ("mean_ap", None, "mAP, points", 1),
)
OUT = Path("docs/replicates.md")


def read(commit: str | None) -> pd.DataFrame:
    """results.csv of a commit, or the one at hand.

    Raises:
        subprocess.CalledProcessError: the history is not here.
    """
    if commit is None:
        return pd.read_csv("reports/results.csv", low_memory=False)
    done = subprocess.run(["git", "show", f"{commit}:reports/results.csv"], capture_output=True, check=True)
    return pd.read_csv(io.BytesIO(done.stdout), low_memory=False)


def values(results: pd.DataFrame, compression: str, student: str, metric: str, population: str | None) -> pd.DataFrame:
    """One metric of the finished networks of one student: a row per seed, a column per method."""
    rows = results[
        (results["compression"] == compression) & (results["student"] == student) & (results["metric"] == metric)
    ]
    if population:
        rows = rows[(rows["population"] == population) & (rows["attribution"] == "grad_cam")]
    for step in ("iteration", "epoch"):
        at = rows[step].fillna(0)
        rows = rows[at == at.max()]
    return rows.pivot_table(index="seed", columns="method", values="value")


def differences(of_runs: list[pd.DataFrame], method: str, decimals: int) -> list[str]:
    """A method compared with Naive: its lead in each run, and the number of students for which it leads.

    Args:
        of_runs: as `values` gives them.
        method: which.
        decimals: of the figures.
    """
    cells, ahead, count = [], 0, 0
    for of_run in of_runs:
        difference = of_run[method] - of_run["naive"]
        deviation = max(of_run[method].std(), of_run["naive"].std())
        cells.append(f"{difference.mean():+.{decimals}f}{'†' if difference.mean() > deviation else ''}")
        ahead, count = ahead + int((difference > 0).sum()), count + len(difference)
    return [*cells, f"{ahead} of {count}"]


def text() -> str:
    """docs/replicates.md."""
    results = [read(commit) for commit in RUNS.values()]
    lines = [
        "# How much of it is the machine?",
        "",
        "Made by `python -m benchmarks.replicates` from the committed runs of the default profile. Parameters and",
        "seeds are the same; the last bits of the arithmetic are not, and training takes another path from there: as",
        "good as other seeds, though with the same initial weights and batches. On one kind of machine, with one",
        "number of threads, every run gives the same bytes.",
        "",
        "By how much a method is ahead of Naive, mean over three seeds (†: by more than the larger of the two sample",
        "deviations), and for how many of all students it is ahead of the Naive one of the same run and seed.",
    ]
    for metric, population, words, decimals in METRICS:
        lines += ["", f"## {words}", "", f"| student | method | {' | '.join(RUNS)} | students ahead |"]
        lines.append("|---" * (3 + len(RUNS)) + "|")
        for compression, student in STUDENTS:
            of_runs = [values(table, compression, student, metric, population) for table in results]
            for method in METHODS:
                cells = differences(of_runs, method, decimals)
                lines.append(f"| {compression}, {student} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    OUT.write_text(text(), encoding="utf-8")
