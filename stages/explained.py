"""Pairs and maps of the first seed, for what shows single images: grids of heat maps, and the page's explorer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attribution_preservation.data.evaluation import EvaluationSet
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.store import Store
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.scored_pairs import scored_truth
from attribution_preservation.pipeline.run.graph import Stage
from attribution_preservation.reporting.results import Level
from attribution_preservation.storage.identity import Identity, networks_below
from attribution_preservation.storage.tensors import read_arrays

REMEDY = "run the stage attribute first"


class Explained:
    """What was explained, and the maps.

    Attributes:
        seed: the first one.
        pairs: the scored pairs as networks are asked about them.
        truth: the same with the truth about them.
        picture: function of a pair: its image as networks see it, uint8 [S, S, 3].
        class_of: what a pair's class is.
    """

    def __init__(self, stage: Stage) -> None:
        self.group, seeds = next(iter(stage.parameters("seed_groups").items()))
        self.seed = seeds[0]
        self._maps = stage.dep(Path("maps", self.group))
        self.files = networks_below(self._maps, REMEDY)
        evaluation = EvaluationSet(Store(stage.dep(Path("data/dataset"))), stage.section("input", Framing))
        self.pairs, self.picture, self._classes = evaluation.pairs, evaluation.picture, evaluation.store.classes
        self.truth = scored_truth(**vars(self.pairs), labels=evaluation.labels)
        self.class_of = "truth" if self.pairs.label is not None else "teacher's top class"

    def networks(self, level: Level, teacher: str, methods: Sequence[str]) -> dict[str, Identity]:
        """The identities of a level's networks that have maps: `teacher`, and by method, empty for one without.

        Raises:
            UserError: there are no maps of the teacher.
        """
        full = Identity("teacher", self.seed, teacher=teacher)
        if full not in self.files:
            raise UserError(f"{self._maps} holds no teacher {teacher} of seed {self.seed}; {REMEDY}")
        of_level = (level.compression, self.seed, level.student)
        wanted = {"teacher": full} | {
            method: Identity(*of_level, method, level.iteration or 0, level.epoch, teacher) for method in [*methods, ""]
        }
        return {name: identity for name, identity in wanted.items() if identity in self.files}

    def evidence(self, identity: Identity) -> dict[str, np.ndarray]:
        """The arrays of a network that the stage attribute wrote: maps by attribution method, and logits."""
        return read_arrays(self.files[identity], REMEDY)[0]

    def mask(self, pair: int) -> np.ndarray:
        """Where a pair's object is, bool [S, S]."""
        return self.pairs.masks[self.pairs.mask_row[pair]] == self.truth.inside[pair] + 1

    def class_name(self, pair: int, of_teacher: np.ndarray) -> str:
        """The class that a pair asks about; where classes exclude each other the teacher's logits [N, C] decide it."""
        return self._classes[self.pairs.classes(of_teacher, of_teacher)[pair]]

    def predicted(self, of_teacher: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Pairs whose class a network predicts, bool [P]; where classes exclude each other, as its teacher does."""
        return self.truth.common([of_teacher, logits] if self.truth.exclusive else [logits])
