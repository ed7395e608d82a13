"""All scores of one compression's networks beside their teacher, on the three populations, as tidy rows.

Populations (what is averaged over): `own`, pairs that the network itself predicts (logit > 0), as the paper counts;
`common`, pairs that the teacher and the compared methods of one student, iteration and seed all predict, so that
everyone is judged on the same pairs; `all`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from attribution_preservation.metrics.localization import (
    centre_map,
    random_maps,
    score_localization,
)
from attribution_preservation.metrics.prediction import agreement, divergence, f1, mean_ap, sample_ap
from attribution_preservation.metrics.similarity import correlation, cosine, l2_distance

MINIMUM_ASSOCIATED = 30
Row = dict[str, Any]


@dataclass(frozen=True)
class Maps:
    """Maps of one network by one attribution method.

    Attributes:
        values: [n, h, w].
        pairs: which of the scored pairs they explain, int64 [n].
        absorbed: share of the relevance that did not arrive, in percent, [n]; None where the method has none.
    """

    values: np.ndarray
    pairs: np.ndarray
    absorbed: np.ndarray | None = None


@dataclass(frozen=True)
class Evidence:
    """What was extracted from one network.

    Attributes:
        maps: by attribution method.
        logits: of all evaluation images, [N, C].
        sizes: figures of the network that need no images, by metric name.
        sparsity: share of pruned weights, None where nothing was pruned.
    """

    maps: dict[str, Maps]
    logits: np.ndarray
    sizes: dict[str, int]
    sparsity: float | None


@dataclass(frozen=True)
class ScoredPairs:
    """The pairs and the truth about them.

    Attributes:
        image, label: image row and class of each pair, [P].
        masks, mask_row: class masks uint8 [M, S, S], and each pair's row in them, [P].
        labels: multi-label vectors of all evaluation images, [N, C].
    """

    image: np.ndarray
    label: np.ndarray
    masks: np.ndarray
    mask_row: np.ndarray
    labels: np.ndarray

    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """Which pairs a network predicts (logit > 0), bool [P]."""
        return logits[self.image, self.label] > 0

    def take(self, chosen: np.ndarray) -> "ScoredPairs":
        """Some of the pairs, in the order of their positions [n]."""
        return replace(self, image=self.image[chosen], label=self.label[chosen], mask_row=self.mask_row[chosen])

    def localize(self, maps: np.ndarray) -> dict[str, np.ndarray]:
        """Localisation scores of maps [P, h, w] by metric, each [P]."""
        scores = score_localization(maps, self.masks, self.mask_row, self.label)
        zero = scores.zero_map.astype(np.float64)
        return {"roc_auc": scores.roc_auc, "point_accuracy": scores.point_accuracy, "zero_maps": zero}


def baseline_scores(pairs: ScoredPairs, random_seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Scores of maps that know nothing: a blob in the centre, and uniform noise."""
    count, size = len(pairs.label), pairs.masks.shape[1]
    return {
        "centre": pairs.localize(np.broadcast_to(centre_map(size), (count, size, size))),
        "random": pairs.localize(random_maps(count, size, random_seed)),
    }


@dataclass(frozen=True)
class Scored:
    """One network's scores, pair by pair: all that a test of two networks needs.

    Attributes:
        logits: of all evaluation images, [N, C].
        images: scores of its predictions by metric, one for each evaluation image, [N].
        explained: which of the scored pairs each attribution method explains, int64 [n].
        scores: by attribution method and metric, each [n], of the pairs that it explains.
        populations: which of all pairs belong to each, by name, bool [P].
    """

    logits: np.ndarray
    images: dict[str, np.ndarray]
    explained: dict[str, np.ndarray]
    scores: dict[str, dict[str, np.ndarray]]
    populations: dict[str, np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """As a file holds them; `of_arrays` is the way back."""
        found = {"logits": self.logits} | {f"image/{metric}": values for metric, values in self.images.items()}
        found |= {f"explained/{attribution}": pairs for attribution, pairs in self.explained.items()}
        found |= {f"population/{population}": member for population, member in self.populations.items()}
        for attribution, scores in self.scores.items():
            found |= {f"score/{attribution}/{metric}": values for metric, values in scores.items()}
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Scored":
        """The inverse of `arrays`."""
        parts = [(name.split("/"), values) for name, values in arrays.items()]
        explained = {name[1]: values for name, values in parts if name[0] == "explained"}
        scores: dict[str, dict[str, np.ndarray]] = {attribution: {} for attribution in explained}
        for name, values in parts:
            if name[0] == "score":
                scores[name[1]][name[2]] = values
        populations = {name[1]: values for name, values in parts if name[0] == "population"}
        images = {name[1]: values for name, values in parts if name[0] == "image"}
        return cls(arrays["logits"], images, explained, scores, populations)

    def joined(self, other: "Scored") -> "Scored":
        """With what other stages found out about the same network; its own logits and populations stay."""
        return replace(
            self,
            images=self.images | other.images,
            explained=self.explained | other.explained,
            scores=self.scores | other.scores,
        )

    def members(self, attribution: str) -> dict[str, np.ndarray]:
        """Which of the pairs that a method explains belong to each population, bool [n]."""
        return {name: member[self.explained[attribution]] for name, member in self.populations.items()}


class Teacher:
    """A teacher's evidence with the localisation scores of its maps, which every student of it needs again.

    Attributes:
        evidence: what was extracted from it.
        scores: by attribution method and metric, each [n], in the order of its maps.
    """

    def __init__(self, evidence: Evidence, pairs: ScoredPairs) -> None:
        self.evidence = evidence
        self.scores = {attribution: _scores(maps, pairs) for attribution, maps in evidence.maps.items()}

    def scored(self, pairs: ScoredPairs) -> Scored:
        """Its scores as those of any network."""
        own = pairs.predicted(self.evidence.logits)
        populations = {"own": own, "all": np.ones(len(own), dtype=bool)}
        return Scored(self.evidence.logits, {}, _explained(self.evidence), self.scores, populations)

    def beside(self, attribution: str, maps: Maps) -> Maps:
        """Its own maps of the pairs that a student's maps explain.

        Raises:
            ValueError: it has other ones; then the two were extracted under different parameters.
        """
        found = self.evidence.maps.get(attribution)
        if found is None or not np.array_equal(found.pairs, maps.pairs):
            raise ValueError(f"the teacher's {attribution} maps explain other pairs than its student's")
        return found


def teacher_rows(teacher: Teacher, pairs: ScoredPairs, baselines: dict[str, dict[str, np.ndarray]]) -> Iterator[Row]:
    """Rows of one teacher, and of the baselines on its pairs."""
    scored = teacher.scored(pairs)
    yield from _network_rows(teacher.evidence, pairs)
    for attribution, scores in scored.scores.items():
        yield from mean_rows(scores, scored.members(attribution), attribution=attribution)
    for name, scores in baselines.items():
        yield from mean_rows(scores, scored.populations, attribution=name)


def score_students(
    teacher: Teacher, students: Mapping[str, Evidence], compared: Sequence[str], pairs: ScoredPairs
) -> dict[str, Scored]:
    """Score students that differ in nothing but the method, beside their teacher.

    Args:
        teacher: their teacher.
        students: by method, empty for a student that was trained without one.
        compared: methods whose predictions make the population `common`; where none of them is among the students,
            all of the students' do.
        pairs: the scored pairs.
    """
    predicted = {method: pairs.predicted(student.logits) for method, student in students.items()}
    deciding = [predicted[method] for method in compared if method in predicted] or list(predicted.values())
    common = np.logical_and.reduce([pairs.predicted(teacher.evidence.logits), *deciding])
    found = {}
    for method, student in students.items():
        apart = divergence(student.logits, teacher.evidence.logits)
        of_pair = apart[pairs.image, pairs.label]
        of_student = {}
        for attribution, maps in student.maps.items():
            target = teacher.beside(attribution, maps)
            of_student[attribution] = _scores(maps, pairs) | {
                "cosine": cosine(maps.values, target.values),
                "correlation": correlation(maps.values, target.values),
                "l2": l2_distance(maps.values, target.values),
                "pair_divergence": of_pair[maps.pairs],
            }
        populations = {"own": predicted[method], "common": common, "all": np.ones(len(pairs.label), dtype=bool)}
        of_images = {
            "agreement": agreement(student.logits, teacher.evidence.logits),
            "divergence": apart.mean(axis=1),
        }
        found[method] = Scored(student.logits, of_images, _explained(student), of_student, populations)
    return found


def student_rows(
    teacher: Teacher,
    students: Mapping[str, Evidence],
    scored: Mapping[str, Scored],
    pairs: ScoredPairs,
    baselines: dict[str, dict[str, np.ndarray]],
) -> Iterator[Row]:
    """Rows of students with the scores that `score_students` gives them, beside their teacher.

    For the population `common` the teacher and the baselines are scored on the same pairs: their rows bear the method
    `teacher`, or none. Where several attribution methods explain the students, which may explain different pairs, the
    baselines have rows on the pairs of each: with its name as attribution, and theirs as method.
    """
    explained, shared = {}, {}
    for method, student in students.items():
        where = {"method": method or None, "sparsity": student.sparsity}
        yield from _network_rows(student, pairs, **where)
        for metric, values in scored[method].images.items():
            yield {**where, "metric": metric, "value": values.mean(), "n": len(values)}
        for attribution, scores in scored[method].scores.items():
            members = scored[method].members(attribution)
            yield from mean_rows(scores, members, attribution=attribution, **where)
            yield from _associations(scores, members, attribution=attribution, **where)
            # The same for every method.
            explained[attribution] = scored[method].explained[attribution]
            shared[attribution] = {population: members[population] for population in ("common", "all")}
    where = {"sparsity": next(iter(students.values())).sparsity}
    for attribution, found in explained.items():
        common = {"common": shared[attribution]["common"]}
        yield from mean_rows(teacher.scores[attribution], common, attribution=attribution, method="teacher", **where)
        if len(explained) > 1:
            for name, scores in baselines.items():
                of_found = {metric: values[found] for metric, values in scores.items()}
                yield from mean_rows(of_found, shared[attribution], attribution=attribution, method=name, **where)
    common = {"common": next(iter(scored.values())).populations["common"]}
    for name, scores in baselines.items():
        yield from mean_rows(scores, common, attribution=name, **where)


def _scores(maps: Maps, pairs: ScoredPairs) -> dict[str, np.ndarray]:
    scores = pairs.take(maps.pairs).localize(maps.values)
    return scores if maps.absorbed is None else scores | {"absorbed": maps.absorbed}


def _explained(network: Evidence) -> dict[str, np.ndarray]:
    return {attribution: maps.pairs for attribution, maps in network.maps.items()}


def _network_rows(network: Evidence, pairs: ScoredPairs, **where: Any) -> Iterator[Row]:
    images = len(pairs.labels)
    for metric, score in (("mean_ap", mean_ap), ("sample_ap", sample_ap), ("f1", f1)):
        yield {**where, "metric": metric, "value": score(network.logits, pairs.labels), "n": images}
    for metric, value in network.sizes.items():
        yield {**where, "metric": metric, "value": value}


def mean_rows(scores: dict[str, np.ndarray], populations: dict[str, np.ndarray], **where: Any) -> Iterator[Row]:
    """A row for every population and metric.

    Args:
        scores: by metric, each [n]; a pair whose score is NaN does not count.
        populations: which pairs belong to each, bool [n].
        where: what every row says.
    """
    for population, member in populations.items():
        for metric, values in scores.items():
            counted = values[member]
            counted = counted[~np.isnan(counted)]  # an object without background has no ROC curve
            # How many maps are zero is a count; all else is a mean, and empty where the population is.
            value = counted.sum() if metric == "zero_maps" else counted.mean() if counted.size else None
            yield {**where, "population": population, "metric": metric, "value": value, "n": counted.size}


def _associations(scores: dict[str, np.ndarray], populations: dict[str, np.ndarray], **where: Any) -> Iterator[Row]:
    """Pair by pair, do maps move where predictions do? Rank correlation (Spearman) of cosine and divergence.

    -1: the further the prediction of a pair's class is from the teacher's, the less its map is like the teacher's; 0:
    one tells nothing about the other.
    """
    for population, member in populations.items():
        alike, apart = scores["cosine"][member], scores["pair_divergence"][member]
        value = association(alike, apart)
        yield {**where, "population": population, "metric": "association", "value": value, "n": len(alike)}


def association(first: np.ndarray, second: np.ndarray) -> float | None:
    """Rank correlation (Spearman) of two scores of the same pairs, [n] each; None where they are too few, or all alike.

    The standard error of a rank correlation of 30 pairs is 0.19 already.
    """
    known = len(first) >= MINIMUM_ASSOCIATED and np.ptp(first) > 0 and np.ptp(second) > 0
    return float(spearmanr(first, second).statistic) if known else None
