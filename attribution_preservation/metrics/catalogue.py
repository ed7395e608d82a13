"""Every metric of reports/results.csv: its names, its unit, its digits, which way is better.

While figures are computed, a metric at a value of its parameter has one name, as `least_score@30`; in tables the value
has a column of its own, `at`.
"""

from dataclasses import dataclass
from typing import Any, Literal

_BETWEEN = "@"


def at(metric: str, where: Any) -> str:
    """Name of a metric at a value of its parameter: `least_score@30` after 30% of the pixels."""
    return f"{metric}{_BETWEEN}{where}"


def columns(name: str) -> dict[str, str | None]:
    """The columns `metric` and `at` of a figure; `at` is None where the metric has no parameter."""
    metric, _, where = name.partition(_BETWEEN)
    return {"metric": metric, "at": where or None}


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: its word in results.csv.
        title: what axes and tables call it, without its unit; `{at}` stands for the value of its parameter.
        unit: of the numbers that people read; empty where there is none.
        digits: decimals in tables.
        better: which way is better; None where neither is.
        of_pairs: whether it is counted over (image, class) pairs, so that it has a population.
        short: its title in tables; empty where that is the same.
        divisor: from the value in results.csv to the one that people read.
    """

    name: str
    title: str
    unit: str = ""
    digits: int = 1
    better: Literal["higher", "lower"] | None = None
    of_pairs: bool = False
    short: str = ""
    divisor: float = 1.0

    def label(self, where: str | None = None) -> str:
        """Title and unit, of an axis."""
        return self._with_unit(self.title.format(at=where), self.unit)

    @property
    def heading(self) -> str:
        """Title and unit, of a column."""
        return self._with_unit(self.short or self.title, self.unit)

    @property
    def difference(self) -> str:
        """Title and unit of a difference: percentages differ by points."""
        return self._with_unit(self.short or self.title, "points" if self.unit == "%" else self.unit)

    def text(self, value: float) -> str:
        """A value as people read it."""
        return f"{value / self.divisor:,.{self.digits}f}"

    @staticmethod
    def _with_unit(title: str, unit: str) -> str:
        return f"{title} [{unit}]" if unit else title


_PROBABILITY = "probability of the class"

_METRICS = (
    Metric("mean_ap", "mAP", "%", 1, "higher"),
    Metric("sample_ap", "sample AP", "%", 1, "higher"),
    Metric("f1", "F1", "%", 1, "higher"),
    Metric("top1", "top-1 accuracy", "%", 1, "higher", short="top-1"),
    Metric("roc_auc", "ROC-AUC", "%", 1, "higher", of_pairs=True),
    Metric("point_accuracy", "point accuracy", "%", 1, "higher", of_pairs=True),
    Metric("cosine", "cosine to the teacher's map", "", 3, "higher", of_pairs=True, short="cosine"),
    Metric("correlation", "correlation with the teacher's map", "", 3, "higher", of_pairs=True),
    Metric("l2", "l2", "", 3, "lower", of_pairs=True),
    Metric("zero_maps", "maps that are 0 everywhere", "", 0, "lower", of_pairs=True),
    Metric("absorbed", "relevance that does not arrive", "%", 1, "lower", of_pairs=True),
    Metric("agreement", "decisions that are the teacher's", "%", 1, "higher"),
    Metric("divergence", "KL divergence of predictions", "nats", 3, "lower"),
    Metric("pair_divergence", "KL divergence of the pairs' predictions", "nats", 3, "lower", of_pairs=True),
    Metric("association", "rank correlation of cosine and divergence", "", 2, of_pairs=True),
    Metric("least_score", _PROBABILITY, "%", 1, "higher", of_pairs=True),
    Metric("most_score", _PROBABILITY, "%", 1, "lower", of_pairs=True),
    Metric("least_kept", "pairs still predicted", "%", 1, "higher", of_pairs=True),
    Metric("most_kept", "pairs still predicted", "%", 1, "lower", of_pairs=True),
    Metric("insertion_area", "insertion area", "%", 1, "higher", of_pairs=True),
    Metric("deletion_area", "deletion area", "%", 1, "lower", of_pairs=True),
    Metric("insertion_over", "insertion over {at}", "points", 1, "higher", of_pairs=True),
    Metric("deletion_under", "deletion under {at}", "points", 1, "higher", of_pairs=True),
    Metric("mean_ap_lost", "mAP points lost, {at}", "", 1, "lower"),
    Metric("ap_lost", "sample AP points lost, {at}", "", 1, "lower"),
    Metric("association_ap_lost", "{at}: loss with cosine", "", 2),
    Metric("cka", "linear CKA, {at}", "", 3, "higher"),
    Metric("company", "company of an image in {at}", "", 3, "higher"),
    Metric("association_company", "rank correlation of cosine and\nthe image's company in {at}", "", 2),
    Metric("untrained", "rank correlation with the trained map", "", 2, "lower"),
    Metric("untrained_flat", "untrained maps without a rank", "", 0),
    Metric("untrained_floor", "rank correlation with another image's map", "", 2),
    Metric("roar_f1", "F1 of the retrained classifier", "%", 1, "lower"),
    Metric("roar_mean_ap", "mAP of the retrained classifier", "%", 1, "lower"),
    Metric("parameters", "parameters", "", 0, "lower"),
    Metric("nonzero_parameters", "non-zero", "", 0, "lower"),
    Metric("macs", "MACs", "M", 2, "lower", divisor=1e6),
    Metric("bytes", "file", "kB", 0, "lower", divisor=1e3),
)
CATALOGUE = {metric.name: metric for metric in _METRICS}
