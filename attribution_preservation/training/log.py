"""The log of a training run: one row per epoch, without times."""

import csv
import io
from typing import Any


def log_csv(log: list[dict[str, Any]]) -> str:
    """CSV text of a trainer's log; the columns are those of its first entry."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(log[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(log)
    return stream.getvalue()
