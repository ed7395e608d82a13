"""What the page's explorer shows, from files of other stages: maps and scores of some images, by student and step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.reporting.curves import histories
from attribution_preservation.reporting.page.curves import level_words
from attribution_preservation.reporting.page.explorer import Course, Shown, ShownClass, ShownCourse, ShownImage
from attribution_preservation.reporting.results import compressions, display_name, finished, teacher_of
from attribution_preservation.storage.identity import Identity, networks_below
from attribution_preservation.storage.tensors import read_arrays
from stages.explained import Explained

REMEDY = "run the stage evaluate first"


@dataclass(frozen=True)
class _Network:
    """One network's maps, and by pair what is told of them; a pair is a row of all."""

    maps: np.ndarray
    roc_auc: np.ndarray
    hit: np.ndarray
    predicted: np.ndarray
    cosine: np.ndarray | None

    def shown(self, pair: int) -> Shown:
        cosine = None if self.cosine is None else float(self.cosine[pair])
        return Shown(
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
        found = self.explained.evidence(identity)
        if identity not in self._scores:
            raise UserError(f"there are maps of {identity.student or identity.teacher} and no scores; {REMEDY}")
        scores = read_arrays(self._scores[identity], REMEDY)[0]
        predicted = self.explained.predicted(of_teacher, found["logits"])
        told = [scores.get(f"score/grad_cam/{metric}") for metric in ("roc_auc", "point_accuracy", "cosine")]
        if any(values is not None and len(values) != len(predicted) for values in told):
            raise UserError(f"{self._scores[identity]} is of another data set; {REMEDY}")
        return _Network(found["grad_cam"], told[0], told[1] > 0, predicted, told[2])


def explored(
    stage: Stage, results: pd.DataFrame, methods: Sequence[str], count: int | None
) -> tuple[list[Course], list[ShownImage]]:
    """The explorer's courses and images.

    Args:
        stage: declares maps, scores and the data set.
        results: tidy results, which say what there is.
        methods: in this order.
        count: of images, evenly spaced over those with pairs; None for all.

    Raises:
        UserError: maps or scores are missing.
    """
    reader = _Reader(stage)
    shown = reader.explained
    pairs = np.flatnonzero(shown.truth.all)
    images = np.unique(shown.pairs.image[pairs])
    if count is not None and count < len(images):
        images = images[np.linspace(0, len(images) - 1, count).round().astype(int)]
    of_image = {image: [int(pair) for pair in pairs if shown.pairs.image[pair] == image] for image in images}
    titles, by_pair = [], {pair: list[ShownCourse]() for found in of_image.values() for pair in found}
    for compression in compressions(results):
        for student, history in histories(results, compression).items():
            ends = finished(history)
            course = ends if len(ends) > 1 else history
            networks = [shown.networks(level, str(teacher_of(results, level)), methods) for level in course]
            present = [name for name in [*methods, ""] if any(name in found for found in networks)]
            full, logits = reader.teacher(networks[0]["teacher"])
            read = [
                [reader.student(found[name], logits) if name in found else None for name in present]
                for found in networks
            ]
            title = f"{display_name(compression)}, {student.replace('_', ' ')}"
            titles.append(
                Course(title, level_words(results, course), [display_name(name or compression) for name in present])
            )
            for pair, found in by_pair.items():
                levels = [[network.shown(pair) if network else None for network in of_level] for of_level in read]
                found.append(ShownCourse(shown.class_name(pair, logits), full.shown(pair), levels))
    return titles, [
        ShownImage(shown.picture(found[0]), [ShownClass(shown.mask(pair), by_pair[pair]) for pair in found])
        for found in of_image.values()
        if titles
    ]
