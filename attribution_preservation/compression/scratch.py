"""Small networks that are trained without a teacher: the baseline of every compression."""

from collections.abc import Callable

from attribution_preservation.compression.compression import Compression, CompressionSettings, Plan
from attribution_preservation.compression.shape import Frame, Shape, layers_of, network_of
from attribution_preservation.models.network import Network
from attribution_preservation.optimization import Optimization
from attribution_preservation.settings import Name


class Scratch(CompressionSettings):
    """Small networks trained without a teacher.

    Attributes:
        teacher: name of the network that their maps are compared with and whose dropout they use.
        students: the shape of each student by its name.
        optimization: the training schedule.
    """

    students: dict[Name, Shape]
    optimization: Optimization


def _small(shape: Shape, frame: Frame, copy: Callable[[], Network]) -> Network:
    return network_of(shape, frame)


def _plan(section: Scratch, shape: Shape) -> Plan:
    return Plan(section.optimization)


SCRATCH = Compression(
    "scratch",
    "From scratch",
    Scratch,
    student=_small,
    plan=_plan,
    shape=layers_of,
    example={"architecture": "vgg6_bn", "width_divisor": 2},
)
