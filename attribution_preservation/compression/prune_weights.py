"""Magnitude pruning of a teacher in one or many steps, with fine-tuning after each."""

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from attribution_preservation.compression.compression import Compression, MatchedSettings, Plan
from attribution_preservation.compression.shape import Frame
from attribution_preservation.compression.weight_pruning import WeightMasks, pruned_share
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import before_the_last
from attribution_preservation.settings import Count, CountOrZero, Name, Section, between, distinct

# Below this, fewer than fifteen weights of VGG16 are left, and the last steps differ only by rounding.
_LEAST_KEPT = 1e-6


class PruningSteps(Section):
    """Number of pruning steps and share of the weights that each removes.

    Attributes:
        iterations: number of pruning steps; 1 is one-shot.
        rate: share of the remaining weights that each step removes. k steps remove 1 - (1 - rate)^k of all weights.
        epochs: epochs of fine-tuning after each step.
        snapshots: epochs after which a student is saved and scored, in addition to the last; 0 is right after pruning.
    """

    iterations: Annotated[int, Field(ge=1, le=99)]
    rate: Annotated[float, Field(gt=0, lt=1), between(0.001, 0.999)]
    epochs: Count
    snapshots: Annotated[list[CountOrZero], AfterValidator(distinct)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if (left := (1 - self.rate) ** self.iterations) < _LEAST_KEPT:
            raise ValueError(
                f"{self.iterations} iterations at a rate of {self.rate:g} leave a share of {left:.1g} of the weights; "
                f"{_LEAST_KEPT:g} is the least"
            )
        return self

    @field_validator("snapshots")
    @classmethod
    def _before_the_last(cls, snapshots: list[int], others: ValidationInfo) -> list[int]:
        return before_the_last(snapshots, others.data.get("epochs"))


class PruneWeights(MatchedSettings):
    """Magnitude pruning of single weights.

    Attributes:
        teacher: name of the network that is compressed.
        matchings: names of entries of `matching`.
        students: the pruning steps of each student by its name.
        optimization: schedule of the fine-tuning after each step.
    """

    students: dict[Name, PruningSteps]


class IterativeMasks(WeightMasks):
    """Masks that prune more weights at the beginning of each phase.

    Args:
        network: network whose convolutions are pruned.
        rate: share of the remaining weights that each step removes.
    """

    def __init__(self, network: Network, rate: float) -> None:
        super().__init__(network.convolutions())
        self._rate = rate

    def begin(self, phase: int) -> None:
        """Prune up to the share of iteration `phase`, which counts from 1."""
        self.grow(pruned_share(phase, self._rate))


def _copy(steps: PruningSteps, frame: Frame, copy: Callable[[], Network]) -> Network:
    return copy()


def _plan(section: PruneWeights, steps: PruningSteps) -> Plan:
    return Plan(section.optimization.over(steps.epochs), steps.iterations, steps.snapshots)


def _masks(steps: PruningSteps, student: Network) -> IterativeMasks:
    return IterativeMasks(student, steps.rate)


PRUNE_WEIGHTS = Compression(
    "prune_weights",
    "Weight pruning",
    PruneWeights,
    student=_copy,
    plan=_plan,
    constraint=_masks,
    example={"iterations": 1, "rate": 0.5, "epochs": 1},
)
