"""All scores of one compression's networks beside their teacher, on the three populations, as tidy rows.

Populations (what is averaged over): `own`, pairs that the network itself predicts, as the paper counts; `common`, pairs
that the teacher and the compared methods of one student, iteration and seed all predict, so that everyone is judged on
the same pairs; `all`. Which pairs there are, and when one is predicted: `attribution_preservation.metrics.pairs`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from attribution_preservation.metrics.catalogue import columns
from attribution_preservation.metrics.localization import centre_map, random_maps
from attribution_preservation.metrics.pairs import ScoredPairs
from attribution_preservation.metrics.similarity import correlation, cosine, l2_distance

MINIMUM_ASSOCIATED = 30
SIMILARITY = {"cosine": cosine, "correlation": correlation, "l2": l2_distance}
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


def baseline_scores(pairs: ScoredPairs, random_seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Scores of maps that know nothing: a blob in the centre, and uniform noise."""
    count, size = len(pairs.image), pairs.masks.shape[1]
    return {
        "centre": pairs.localize(np.broadcast_to(centre_map(size), (count, size, size))),
        "random": pairs.localize(random_maps(count, size, random_seed)),
    }


@dataclass(frozen=True)
class Scored:
    """One network's scores, pair by pair: all that a test of two networks needs.

    Attributes:
        logits: of all evaluation images, [N, C]; [N, 0] where no score of resampled images needs them.
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
        # A metric's name may hold a slash: `ap_lost@background/16`.
        parts = [(*name.partition("/")[::2], values) for name, values in arrays.items()]
        explained = {name: values for kind, name, values in parts if kind == "explained"}
        scores: dict[str, dict[str, np.ndarray]] = {attribution: {} for attribution in explained}
        for kind, name, values in parts:
            if kind == "score":
                attribution, _, metric = name.partition("/")
                scores[attribution][metric] = values
        populations = {name: values for kind, name, values in parts if kind == "population"}
        images = {name: values for kind, name, values in parts if kind == "image"}
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
        logits = self.evidence.logits
        populations = {"own": pairs.own(logits), "all": pairs.all}
        return Scored(pairs.again(logits), pairs.of_images(logits), _explained(self.evidence), self.scores, populations)

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
    yield from _network_rows(teacher.evidence, scored, pairs)
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
    reference = teacher.evidence.logits
    deciding = [method for method in compared if method in students] or list(students)
    common = pairs.common([reference, *(students[method].logits for method in deciding)])
    found = {}
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
        found[method] = Scored(pairs.again(student.logits), of_images, _explained(student), of_student, populations)
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
        yield from _network_rows(student, scored[method], pairs, **where)
        for attribution, scores in scored[method].scores.items():
            members = scored[method].members(attribution)
            of_population = {population: scores_of(scores, population, pairs.exclusive) for population in members}
            for population, found in of_population.items():
                yield from mean_rows(found, {population: members[population]}, attribution=attribution, **where)
            compared = {name: member for name, member in members.items() if "cosine" in of_population[name]}
            yield from _associations(scores, compared, attribution=attribution, **where)
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
            yield {**where, "population": population, **columns(metric), "value": value, "n": counted.size}


def scores_of(scores: Mapping[str, np.ndarray], population: str, exclusive: bool) -> dict[str, np.ndarray]:
    """Those of a student's scores that a population has, by metric.

    Where classes exclude each other, its `own` maps are of its own top classes, and compared with no other network's.
    """
    alone = exclusive and population == "own"
    return {metric: values for metric, values in scores.items() if not (alone and metric in SIMILARITY)}


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
