"""Sections `prune_weights`, `prune_channels`, `distill` and `scratch`: every way to a smaller network."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter

from attribution_preservation.pipeline.schema.base import Section, distinct
from attribution_preservation.pipeline.schema.optimization import Descent, Optimization

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Rate = Annotated[float, Field(ge=0, le=1)]


RATES = TypeAdapter(dict[str, Rate], config=ConfigDict(strict=True))
SNAPSHOTS = TypeAdapter(list[PositiveInt], config=ConfigDict(strict=True))


class PruningSteps(Section):
    """How many weights go, in how many steps.

    Attributes:
        iterations: number of pruning steps; 1 is one-shot.
        rate: share of the remaining weights that each step removes; after k steps 1 - (1 - rate)^k are gone.
        epochs: of fine-tuning after each step.
        snapshots: of those, after which a student is kept and scored beside the last; 0 is right after pruning.
    """

    iterations: Annotated[int, Field(ge=1, le=99)]
    rate: Annotated[float, Field(gt=0, lt=1)]
    epochs: PositiveInt
    snapshots: Annotated[list[NonNegativeInt], AfterValidator(distinct)] = Field(default_factory=list)


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

    temperature: PositiveFloat
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
    snapshots: list[PositiveInt]
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
