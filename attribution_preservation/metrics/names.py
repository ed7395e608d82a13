"""Names of figures while they are computed. In tables a metric's parameter has a column of its own, `at`."""

from typing import Any

_BETWEEN = "@"


def at(metric: str, where: Any) -> str:
    """Name of a metric at a value of its parameter: `least_score@30` after 30% of the pixels."""
    return f"{metric}{_BETWEEN}{where}"


def columns(name: str) -> dict[str, str | None]:
    """The columns `metric` and `at` of a figure; `at` is None where the metric has no parameter."""
    metric, _, where = name.partition(_BETWEEN)
    return {"metric": metric, "at": where or None}
