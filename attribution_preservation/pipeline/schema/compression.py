"""Sections `prune_weights`, `prune_channels`, `distill` and `scratch`: every way to a smaller network."""

from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, model_validator

from attribution_preservation.optimization import Descent, Optimization
from attribution_preservation.settings import Count, CountOrZero, Section, between, distinct

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _worth_a_filter(rate: float) -> float:
    if 0 < rate < 0.001:
        raise ValueError(f"a rate is 0, or from 0.001 to 1 (it is {rate:g})")
    return rate


# Less than a thousandth is no share of a layer's filters: the widest layer has 512.
Rate = Annotated[float, Field(ge=0, le=1), AfterValidator(_worth_a_filter)]
# Below, fewer than fifteen weights of VGG16 are left, and no more than rounding tells the last steps apart.
_LEAST_KEPT = 1e-6

RATES = TypeAdapter(dict[str, Rate], config=ConfigDict(strict=True))
SNAPSHOTS = TypeAdapter(list[Count], config=ConfigDict(strict=True))


class PruningSteps(Section):
    """How many weights go, in how many steps.

    Attributes:
        iterations: number of pruning steps; 1 is one-shot.
        rate: share of the remaining weights that each step removes; after k steps 1 - (1 - rate)^k are gone.
        epochs: of fine-tuning after each step.
        snapshots: of those, after which a student is kept and scored beside the last; 0 is right after pruning.
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


class PruneWeights(Section):
    """Magnitude pruning of single weights.

    Attributes:
        teacher: name of the full network that is compressed.
        matchings: names of entries of `matching`.
        students: by name, how far and in how many steps.
        optimization: the fine-tuning after each step.
    """

    teacher: Name
    matchings: list[str]
    students: dict[Name, PruningSteps]
    optimization: Descent


class PruneChannels(Section):
    """Removal of whole filters, once, and fine-tuning.

    Attributes:
        teacher: name of the full network that is compressed.
        matchings: names of entries of `matching`.
        students: by name, the share of filters to remove by the convolution's name (`conv1`, `layer1.0.conv1`), or for
            `all` that can shrink and are not named; 0 for the others.
        optimization: the fine-tuning.
    """

    teacher: Name
    matchings: list[str]
    students: dict[Name, dict[str, Rate]]
    optimization: Optimization


class Shape(Section):
    """A small network, described from a published one.

    Attributes:
        architecture: a name in `attribution_preservation.models.architectures`.
        width_divisor: divides the width of every convolution.
        rates: as channel pruning would remove filters from that.
    """

    architecture: str
    width_divisor: Annotated[int, Field(ge=1, le=64)]
    rates: dict[str, Rate] = Field(default_factory=dict)


class Logits(Section):
    """The loss of distillation: weight * T^2 * KL + (1 - weight) * task loss.

    Attributes:
        temperature: T.
        weight: share of the distillation loss; the task loss has the rest.
    """

    # In float32 the divergence of logits / T is a difference of numbers near 1 that shrinks with T^2: at 1000 its value
    # has two digits left, at 10^4 none. The loss's gradient shrinks with a T below 1, to a hundredth at 0.01.
    temperature: Annotated[float, Field(gt=0), between(0.01, 1000)]
    weight: Annotated[float, Field(ge=0, le=1)]


class Distill(Section):
    """Knowledge distillation into a narrower network.

    Attributes:
        teacher: name of the full network that is compressed.
        matchings: names of entries of `matching`.
        students: by name, their shape.
        logits: how they are matched.
        snapshots: epochs after which a student is kept and scored, beside the last.
        optimization: the schedule.
    """

    teacher: Name
    matchings: list[str]
    students: dict[Name, Shape]
    logits: Logits
    snapshots: list[Count]
    optimization: Optimization


class Scratch(Section):
    """Small networks trained without a teacher.

    Attributes:
        teacher: name of the full network that their maps are compared with, and whose dropout they have.
        students: by name, their shape.
        optimization: the schedule.
    """

    teacher: Name
    students: dict[Name, Shape]
    optimization: Optimization
