"""Significance tests of one student's networks: each method against Naive, and Naive against the teacher."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attribution_preservation.metrics.catalogue import at, columns
from attribution_preservation.metrics.prediction import image_ap, resampled_f1, resampled_mean_ap
from attribution_preservation.metrics.scoring import Row, Scored, scores_of
from attribution_preservation.metrics.significance import (
    image_weights,
    paired_test,
    resampled_means,
)

REFERENCE = "naive"
# Metrics that are already differences within one network; they are tested against zero.
CONTRASTS = (at("insertion_over", ""), at("deletion_under", ""))
# Attribution method and population (both empty for predictions), and the metric's name with its parameter.
Key = tuple[str, str, str]
# Metrics that are means over other pairs, or that do not score a map.
_NOT_TESTED = ("zero_maps", "absorbed")


@dataclass(frozen=True)
class _Figure:
    """One metric of one network.

    Attributes:
        values: value over all images, then over every resample, [1 + resamples].
        images: number of images that contribute to it.
    """

    values: np.ndarray
    images: int


@dataclass(frozen=True)
class Truth:
    """The scored pairs and the labels of the images.

    Attributes:
        image: image row of each pair, [P].
        labels: labels of all evaluation images: multi-label vectors [N, C], or class indices [N], -1 if unknown.
    """

    image: np.ndarray
    labels: np.ndarray

    @property
    def exclusive(self) -> bool:
        """Whether an image has one class. mAP and F1 are then not defined."""
        return self.labels.ndim == 1


class Comparisons:
    """Paired tests over the seeds of one student.

    Args:
        truth: the pairs and the labels.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """

    def __init__(self, truth: Truth, resamples: int, seed: int) -> None:
        self._truth, self._seed = truth, seed
        self._weights = image_weights(len(truth.labels), resamples, seed)

    def predictions(self, logits: Mapping[str, Mapping[int, Sequence[np.ndarray]]], reference: str) -> Iterator[Row]:
        """Compare the predictions of networks from several sources with those of one source.

        A seed may have several networks, whose metrics are averaged.

        Args:
            logits: logits by source and seed, each [N, C].
            reference: the source that all others are compared with.

        Yields:
            Rows like `rows`, with the source as method.
        """
        labels, images = self._truth.labels, len(self._truth.labels)
        scores = {"f1": resampled_f1, "mean_ap": resampled_mean_ap}
        figures = {
            source: {
                seed: {
                    ("", "", metric): _Figure(
                        np.mean([score(of_network, labels, self._weights) for of_network in of_seed], axis=0), images
                    )
                    for metric, score in scores.items()
                }
                for seed, of_seed in of_source.items()
            }
            for source, of_source in logits.items()
        }
        for source in figures:
            if source != reference:
                for row in self._tests(figures[source], figures[reference]):
                    yield {"method": source, "reference": reference, **row}

    def rows(self, teachers: Mapping[int, Scored], students: Mapping[str, Mapping[int, Scored]]) -> Iterator[Row]:
        """Every comparison of one student's networks.

        Args:
            teachers: scores of the teachers by seed.
            students: scores of the students by method and seed. The method is empty for a student that was trained
                without one.

        Yields:
            The method, and the reference that it is compared with: `naive`, `teacher`, or `zero` for a metric that is
            already a difference. Attribution, population and metric are as in results.csv. Then the fields of
            PairedTest.
        """
        figures = {
            method: {seed: self._figures(network, network) for seed, network in of_method.items()}
            for method, of_method in students.items()
        }
        for method, by_seed in figures.items():
            of_contrasts = {
                seed: {key: figure for key, figure in of_seed.items() if key[2].startswith(CONTRASTS)}
                for seed, of_seed in by_seed.items()
            }
            none = {
                seed: {key: replace(figure, values=np.zeros_like(figure.values)) for key, figure in of_seed.items()}
                for seed, of_seed in of_contrasts.items()
            }
            yield from self._tests(of_contrasts, none, method=method, reference="zero")
        against_teacher = [REFERENCE] if REFERENCE in students else list(students)
        for method in against_teacher:
            of_teachers = {seed: self._figures(teachers[seed], network) for seed, network in students[method].items()}
            yield from self._tests(figures[method], of_teachers, method=method, reference="teacher")
        if REFERENCE in students:
            for method in students:
                if method != REFERENCE:
                    yield from self._tests(figures[method], figures[REFERENCE], method=method, reference=REFERENCE)

    def _figures(self, network: Scored, beside: Scored) -> dict[Key, _Figure]:
        """The metrics of a network.

        The population `own` has the network's own pairs. The population `common` is that of `beside`, the network that
        it is compared with.
        """
        labels, weights = self._truth.labels, self._weights
        images = np.arange(len(labels))
        figures, by_image = {}, dict(network.images)
        if not self._truth.exclusive:
            for metric, resampled in (("mean_ap", resampled_mean_ap), ("f1", resampled_f1)):
                figures["", "", metric] = _Figure(resampled(network.logits, labels, weights), len(images))
            by_image = {"sample_ap": image_ap(network.logits, labels)} | by_image
        for metric, values in _by_metric(by_image, images, weights).items():
            figures["", "", metric] = _Figure(values, int(np.count_nonzero(~np.isnan(by_image[metric]))))
        for attribution, scores in network.scores.items():
            if attribution not in beside.explained:
                continue
            explained = network.explained[attribution]
            for population, member in (beside.members(attribution) | network.members(attribution)).items():
                image = self._truth.image[explained[member]]
                of_population = scores_of(scores, population, self._truth.exclusive)
                tested = {m: values[member] for m, values in of_population.items() if m not in _NOT_TESTED}
                for metric, means in _by_metric(tested, image, weights).items():
                    figures[attribution, population, metric] = _Figure(means, len(np.unique(image)))
        return figures

    def _tests(
        self, figures: Mapping[int, Mapping[Key, _Figure]], others: Mapping[int, Mapping[Key, _Figure]], **where: str
    ) -> Iterator[Row]:
        seeds = sorted(set(figures) & set(others))
        for key in dict.fromkeys(key for seed in seeds for key in figures[seed] if key in others[seed]):
            both = [(figures[seed][key], others[seed][key]) for seed in seeds]
            differences = np.stack([figure.values - other.values for figure, other in both], axis=1)
            # A seed without images is left out of the test.
            images = min((count for pair in both if (count := min(f.images for f in pair))), default=0)
            test = paired_test(differences, images, self._seed)
            attribution, population, metric = key
            yield {
                **where,
                "attribution": attribution or None,
                "population": population or None,
                **columns(metric),
                **vars(test),
            }


def _by_metric(scores: Mapping[str, np.ndarray], image: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    means = resampled_means(np.stack(list(scores.values()), axis=1), image, weights)
    return dict(zip(scores, means.T, strict=True))
