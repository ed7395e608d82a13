"""All scores of one compression's networks and their teacher, on the three populations, as tidy rows.

A population is the set of pairs over which scores are averaged. `own`: pairs that the network itself predicts, as in
the paper. `common`: pairs that the teacher and the compared methods of one student, iteration and seed all predict, so
that all networks are scored on the same pairs. `all`: every pair that is the same for every network.
`attribution_preservation.metrics.scored_pairs` defines the pairs, and when a network predicts one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from attribution_preservation.metrics.catalogue import columns
from attribution_preservation.metrics.evidence import Evidence, Maps
from attribution_preservation.metrics.localization import centre_map, random_maps
from attribution_preservation.metrics.scored_pairs import ScoredPairs
from attribution_preservation.metrics.similarity import correlation, cosine, l2_distance

MINIMUM_ASSOCIATED = 30
SIMILARITY = {"cosine": cosine, "correlation": correlation, "l2": l2_distance}
Row = dict[str, Any]


def baseline_scores(pairs: ScoredPairs, random_seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Scores of baseline maps: a blob in the centre, and uniform noise."""
    count, size = len(pairs.image), pairs.masks.shape[1]
    return {
        "centre": pairs.localize(np.broadcast_to(centre_map(size), (count, size, size))),
        "random": pairs.localize(random_maps(count, size, random_seed)),
    }


@dataclass(frozen=True)
class Scored:
    """One network's scores of each pair: all data that a test of two networks needs.

    Attributes:
        logits: logits of all evaluation images, [N, C]; [N, 0] if no score of resampled images needs them.
        images: scores of its predictions by metric, one for each evaluation image, [N].
        explained: positions of the scored pairs that each attribution method explains, int64 [n].
        scores: scores of the explained pairs, by attribution method and metric, each [n].
        populations: members of each population among all pairs, by name, bool [P].
    """

    logits: np.ndarray
    images: dict[str, np.ndarray]
    explained: dict[str, np.ndarray]
    scores: dict[str, dict[str, np.ndarray]]
    populations: dict[str, np.ndarray]

    def joined(self, other: "Scored") -> "Scored":
        """The scores together with another stage's scores of the same network. Logits and populations stay the same."""
        return replace(
            self,
            images=self.images | other.images,
            explained=self.explained | other.explained,
            scores=self.scores | other.scores,
        )

    def members(self, attribution: str) -> dict[str, np.ndarray]:
        """Members of each population among the pairs that a method explains, bool [n]."""
        return {name: member[self.explained[attribution]] for name, member in self.populations.items()}


class Teacher:
    """A teacher's evidence with the localisation scores of its maps, which the scores of every student need.

    Attributes:
        evidence: maps, logits and sizes of the teacher.
        scores: scores by attribution method and metric, each [n], in the order of its maps.
    """

    def __init__(self, evidence: Evidence, pairs: ScoredPairs) -> None:
        self.evidence = evidence
        self.scores = {attribution: _scores(maps, pairs) for attribution, maps in evidence.maps.items()}

    def scored(self, pairs: ScoredPairs) -> Scored:
        """The teacher's scores in the form that all networks have."""
        logits = self.evidence.logits
        populations = {"own": pairs.own(logits), "all": pairs.all}
        return Scored(pairs.again(logits), pairs.of_images(logits), _explained(self.evidence), self.scores, populations)

    def beside(self, attribution: str, maps: Maps) -> Maps:
        """The teacher's maps of the pairs that a student's maps explain.

        Raises:
            ValueError: the teacher's maps explain other pairs. Then the two were extracted with different parameters.
        """
        own = self.evidence.maps.get(attribution)
        if own is None or not np.array_equal(own.pairs, maps.pairs):
            raise ValueError(f"the teacher's {attribution} maps explain other pairs than its student's")
        return own


def teacher_rows(teacher: Teacher, pairs: ScoredPairs, baselines: dict[str, dict[str, np.ndarray]]) -> Iterator[Row]:
    """Rows of one teacher, and of the baselines on its pairs."""
    scored = teacher.scored(pairs)
    yield from _network_rows(teacher.evidence, scored, pairs)
    for attribution, scores in scored.scores.items():
        yield from mean_rows(scores, scored.members(attribution), attribution=attribution)
    for name, scores in baselines.items():
        yield from mean_rows(scores, scored.populations, attribution=name)


def score_students(
    teacher: Teacher, students: Mapping[str, Evidence], compared: Sequence[str], pairs: ScoredPairs
) -> dict[str, Scored]:
    """Score students that differ only in the method, and compare them with their teacher.

    Args:
        teacher: their teacher.
        students: evidence by method; the method is empty for a student that was trained without one.
        compared: methods whose predictions define the population `common`. If the students have none of them, all
            students define it.
        pairs: the scored pairs.
    """
    reference = teacher.evidence.logits
    deciding = [method for method in compared if method in students] or list(students)
    common = pairs.common([reference, *(students[method].logits for method in deciding)])
    scored = {}
    for method, student in students.items():
        of_images, of_pair = pairs.beside(student.logits, reference)
        of_student = {}
        for attribution, maps in student.maps.items():
            target, shared = teacher.beside(attribution, maps), pairs.all[maps.pairs]
            # Maps of two classes are not compared.
            similar = {
                name: np.where(shared, score(maps.values, target.values), np.nan) for name, score in SIMILARITY.items()
            }
            of_student[attribution] = _scores(maps, pairs) | similar | {"pair_divergence": of_pair[maps.pairs]}
        populations = {"own": pairs.own(student.logits), "common": common, "all": pairs.all}
        of_images = pairs.of_images(student.logits) | of_images
        scored[method] = Scored(pairs.again(student.logits), of_images, _explained(student), of_student, populations)
    return scored


def student_rows(
    teacher: Teacher,
    students: Mapping[str, Evidence],
    scored: Mapping[str, Scored],
    pairs: ScoredPairs,
    baselines: dict[str, dict[str, np.ndarray]],
) -> Iterator[Row]:
    """Rows of students with their scores from `score_students`, and rows of their teacher and the baselines.

    For the population `common` the teacher and the baselines are scored on the same pairs. Rows of the teacher have the
    method `teacher`; rows of the baselines have no method. Several attribution methods may explain different pairs. The
    baselines then have rows on each method's pairs, with the attribution method as attribution and the baseline's name
    as method.
    """
    explained, shared = {}, {}
    for method, student in students.items():
        where = {"method": method or None, "sparsity": student.sparsity}
        yield from _network_rows(student, scored[method], pairs, **where)
        for attribution, scores in scored[method].scores.items():
            members = scored[method].members(attribution)
            of_population = {population: scores_of(scores, population, pairs.exclusive) for population in members}
            for population, counted in of_population.items():
                yield from mean_rows(counted, {population: members[population]}, attribution=attribution, **where)
            compared = {name: member for name, member in members.items() if "cosine" in of_population[name]}
            yield from _associations(scores, compared, attribution=attribution, **where)
            explained[attribution] = scored[method].explained[attribution]  # equal for every method
            shared[attribution] = {population: members[population] for population in ("common", "all")}
    where = {"sparsity": next(iter(students.values())).sparsity}
    for attribution, explained_pairs in explained.items():
        common = {"common": shared[attribution]["common"]}
        yield from mean_rows(teacher.scores[attribution], common, attribution=attribution, method="teacher", **where)
        if len(explained) > 1:
            for name, scores in baselines.items():
                of_explained = {metric: values[explained_pairs] for metric, values in scores.items()}
                yield from mean_rows(of_explained, shared[attribution], attribution=attribution, method=name, **where)
    common = {"common": next(iter(scored.values())).populations["common"]}
    for name, scores in baselines.items():
        yield from mean_rows(scores, common, attribution=name, **where)


def score_level(
    teacher: Teacher,
    students: Mapping[str, Evidence],
    compared: Sequence[str],
    pairs: ScoredPairs,
    baselines: dict[str, dict[str, np.ndarray]],
) -> tuple[dict[str, Scored], list[Row]]:
    """Scores by method, and rows, of students that differ only in the method; of their teacher without students.

    Args:
        teacher, students, compared, pairs: see `score_students`. A teacher's own scores have the method "".
        baselines: from `baseline_scores`.
    """
    if not students:
        return {"": teacher.scored(pairs)}, list(teacher_rows(teacher, pairs, baselines))
    scored = score_students(teacher, students, compared, pairs)
    return scored, list(student_rows(teacher, students, scored, pairs, baselines))


def _scores(maps: Maps, pairs: ScoredPairs) -> dict[str, np.ndarray]:
    scores = pairs.take(maps.pairs).localize(maps.values)
    return scores if maps.absorbed is None else scores | {"absorbed": maps.absorbed}


def _explained(network: Evidence) -> dict[str, np.ndarray]:
    return {attribution: maps.pairs for attribution, maps in network.maps.items()}


def _network_rows(network: Evidence, scored: Scored, pairs: ScoredPairs, **where: Any) -> Iterator[Row]:
    for metric, value in pairs.predictions(network.logits).items():
        yield {**where, "metric": metric, "value": value, "n": len(pairs.labels)}
    for metric, value in network.sizes.items():
        yield {**where, "metric": metric, "value": value}
    for metric, values in scored.images.items():
        known = values[~np.isnan(values)]
        if known.size:
            yield {**where, **columns(metric), "value": known.mean(), "n": known.size}


def mean_rows(scores: dict[str, np.ndarray], populations: dict[str, np.ndarray], **where: Any) -> Iterator[Row]:
    """A row for every population and metric.

    Args:
        scores: scores by metric, each [n]; pairs whose score is NaN are left out.
        populations: members of each population, bool [n].
        where: columns that every row gets.
    """
    for population, member in populations.items():
        for metric, values in scores.items():
            counted = values[member]
            counted = counted[~np.isnan(counted)]  # an object without background has no ROC curve
            # The number of zero maps is a count. Other metrics are means, which are empty if the population is empty.
            value = counted.sum() if metric == "zero_maps" else counted.mean() if counted.size else None
            yield {**where, "population": population, **columns(metric), "value": value, "n": counted.size}


def scores_of(scores: Mapping[str, np.ndarray], population: str, exclusive: bool) -> dict[str, np.ndarray]:
    """A student's scores that are defined for a population, by metric.

    If classes exclude each other, its `own` maps explain its own top classes. They are not compared with another
    network's maps.
    """
    alone = exclusive and population == "own"
    return {metric: values for metric, values in scores.items() if not (alone and metric in SIMILARITY)}


def _associations(scores: dict[str, np.ndarray], populations: dict[str, np.ndarray], **where: Any) -> Iterator[Row]:
    """Whether the maps change for those pairs whose predictions change: rank correlation of cosine and divergence.

    The value is Spearman's. At -1, a pair whose prediction is further from the teacher's always has a map less similar
    to the teacher's map. At 0, the two are unrelated.
    """
    for population, member in populations.items():
        alike, apart = scores["cosine"][member], scores["pair_divergence"][member]
        value = association(alike, apart)
        yield {**where, "population": population, "metric": "association", "value": value, "n": len(alike)}


def association(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation of two scores of the same pairs, [n] each; None if pairs are too few or all equal.

    The standard error of a rank correlation of 30 pairs is 0.19.
    """
    known = len(first) >= MINIMUM_ASSOCIATED and np.ptp(first) > 0 and np.ptp(second) > 0
    return float(spearmanr(first, second).statistic) if known else None
