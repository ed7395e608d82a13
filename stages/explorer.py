"""Contents of the page's explorer, from files of other stages: maps and scores of some images, by student and step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.reporting.curves import histories
from attribution_preservation.reporting.page.curve_data import level_words
from attribution_preservation.reporting.page.sprite_sheets import Course, ImageMaps, MapOfPair, PairCourse, PairMaps
from attribution_preservation.reporting.results import compressions, finished, teacher_of
from attribution_preservation.reporting.titles import Titles
from attribution_preservation.storage.identity import Identity, networks_below
from attribution_preservation.storage.tensors import read_arrays
from stages.explained import Explained

REMEDY = "run the stage evaluate first"


@dataclass(frozen=True)
class _Network:
    """One network's maps, and by pair what the page says of them; a pair is a row of all."""

    maps: np.ndarray
    roc_auc: np.ndarray
    hit: np.ndarray
    predicted: np.ndarray
    cosine: np.ndarray | None

    def map_of(self, pair: int) -> MapOfPair:
        cosine = None if self.cosine is None else float(self.cosine[pair])
        return MapOfPair(
            self.maps[pair], float(self.roc_auc[pair]), bool(self.hit[pair]), bool(self.predicted[pair]), cosine
        )


class _Reader:
    def __init__(self, stage: Stage) -> None:
        self.explained = Explained(stage)
        self._scores: dict[Identity, Path] = {}
        for batch in stage.parameters("batches"):
            folder = stage.dep(Path("scores", self.explained.group, batch, "pairs"))
            self._scores |= networks_below(folder, REMEDY)
        self._known: dict[Identity, tuple[_Network, np.ndarray]] = {}

    def teacher(self, identity: Identity) -> tuple[_Network, np.ndarray]:
        """A full network, and its logits; read once for all of its students."""
        if identity not in self._known:
            logits = self.explained.evidence(identity)["logits"]
            self._known[identity] = self._network(identity, logits), logits
        return self._known[identity]

    def student(self, identity: Identity, of_teacher: np.ndarray) -> _Network:
        return self._network(identity, of_teacher)

    def _network(self, identity: Identity, of_teacher: np.ndarray) -> _Network:
        evidence = self.explained.evidence(identity)
        if identity not in self._scores:
            raise UserError(f"there are maps of {identity.student or identity.teacher} and no scores; {REMEDY}")
        scores = read_arrays(self._scores[identity], REMEDY)[0]
        predicted = self.explained.predicted(of_teacher, evidence["logits"])
        roc_auc, point_accuracy, cosine = of_maps = [
            scores.get(f"score/grad_cam/{metric}") for metric in ("roc_auc", "point_accuracy", "cosine")
        ]
        if any(values is not None and len(values) != len(predicted) for values in of_maps):
            raise UserError(f"{self._scores[identity]} is of another data set; {REMEDY}")
        return _Network(evidence["grad_cam"], roc_auc, point_accuracy > 0, predicted, cosine)


def explored(
    stage: Stage, results: pd.DataFrame, methods: Sequence[str], titles: Titles, count: int | None
) -> tuple[list[Course], list[ImageMaps]]:
    """The explorer's courses and images.

    Args:
        stage: declares maps, scores and the data set.
        results: tidy results, which say what there is.
        methods: in this order.
        titles: what methods and compressions are called.
        count: of images, evenly spaced over those with pairs; None for all.

    Raises:
        UserError: maps or scores are missing.
    """
    reader = _Reader(stage)
    explained = reader.explained
    pairs = np.flatnonzero(explained.truth.all)
    images = np.unique(explained.pairs.image[pairs])
    if count is not None and count < len(images):
        images = images[np.linspace(0, len(images) - 1, count).round().astype(int)]
    of_image = {image: [int(pair) for pair in pairs if explained.pairs.image[pair] == image] for image in images}
    drawn, by_pair = [], {pair: list[PairCourse]() for of_one in of_image.values() for pair in of_one}
    for compression in compressions(results):
        for student, history in histories(results, compression).items():
            ends = finished(history)
            course = ends if len(ends) > 1 else history
            networks = [explained.networks(level, str(teacher_of(results, level)), methods) for level in course]
            present = [name for name in [*methods, ""] if any(name in of_level for of_level in networks)]
            full, logits = reader.teacher(networks[0]["teacher"])
            read = [
                [reader.student(of_level[name], logits) if name in of_level else None for name in present]
                for of_level in networks
            ]
            named = [titles.network(name, compression) for name in present]
            drawn.append(Course(titles.student(compression, student), level_words(results, course), named))
            for pair, maps in by_pair.items():
                levels = [[network.map_of(pair) if network else None for network in of_level] for of_level in read]
                maps.append(PairCourse(explained.class_name(pair, logits), full.map_of(pair), levels))
    return drawn, [
        ImageMaps(explained.picture(of_one[0]), [PairMaps(explained.mask(pair), by_pair[pair]) for pair in of_one])
        for of_one in of_image.values()
        if drawn
    ]
