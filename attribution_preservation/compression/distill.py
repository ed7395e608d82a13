"""Distillation: a narrower network learns from its teacher's logits and, with a matching loss, from its maps."""

from collections.abc import Callable

from pydantic import ValidationInfo, field_validator
from torch import nn

from attribution_preservation.compression.compression import Compression, MatchedSettings, Plan
from attribution_preservation.compression.objective import CompressionObjective, Logits
from attribution_preservation.compression.shape import Frame, Shape, layers_of, network_of
from attribution_preservation.matching.loss import MatchingSettings
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import Optimization, before_the_last
from attribution_preservation.settings import Count, Name


class Distill(MatchedSettings):
    """Knowledge distillation into a narrower network.

    Attributes:
        teacher: name of the network that is compressed.
        matchings: names of entries of `matching`.
        students: the shape of each student by its name.
        logits: settings of the distillation loss.
        snapshots: epochs after which a student is saved and scored, in addition to the last epoch.
        optimization: the training schedule.
    """

    students: dict[Name, Shape]
    logits: Logits
    snapshots: list[Count]
    optimization: Optimization

    @field_validator("snapshots")
    @classmethod
    def _before_the_last(cls, snapshots: list[int], others: ValidationInfo) -> list[int]:
        optimization = others.data.get("optimization")
        return before_the_last(snapshots, optimization and optimization.epochs)


def _small(shape: Shape, frame: Frame, copy: Callable[[], Network]) -> Network:
    return network_of(shape, frame)


def _plan(section: Distill, shape: Shape) -> Plan:
    return Plan(section.optimization, snapshots=section.snapshots)


def _objective(section: Distill, student: Network, teacher: Network, matching: MatchingSettings) -> nn.Module:
    return CompressionObjective(student, teacher, matching, section.logits)


DISTILL = Compression(
    "distill",
    "Distillation",
    Distill,
    student=_small,
    plan=_plan,
    shape=layers_of,
    objective=_objective,
    example={"architecture": "vgg6_bn", "width_divisor": 2},
)
