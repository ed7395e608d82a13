"""Students that have the layers of a published network with fewer filters."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from attribution_preservation.errors import UserError
from attribution_preservation.models.architecture import Architecture, narrowed
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.settings import Section


def _worth_a_filter(rate: float) -> float:
    if 0 < rate < 0.001:
        raise ValueError(f"a rate is 0, or from 0.001 to 1 (it is {rate:g})")
    return rate


# A share below a thousandth removes no filter: the widest layer has 512.
Rate = Annotated[float, Field(ge=0, le=1), AfterValidator(_worth_a_filter)]


@dataclass(frozen=True)
class Frame:
    """Properties that a student shares with its teacher: everything except its layers.

    Attributes:
        classes: number of logits.
        input_size: side of the square input in pixels.
        dropout: probability before the last linear layer.
    """

    classes: int
    input_size: int
    dropout: float


class Shape(Section):
    """A small network, described relative to a published one.

    Attributes:
        architecture: a name in `attribution_preservation.models.networks`.
        width_divisor: divides the width of every convolution.
        rates: share of the remaining filters to leave out of each convolution, as in channel pruning.
    """

    architecture: str
    width_divisor: Annotated[int, Field(ge=1, le=64)]
    rates: dict[str, Rate] = Field(default_factory=dict)


def network_of(shape: Shape, frame: Frame) -> Network:
    """A network of this shape with initial weights."""
    return build(
        **shape.model_dump(), classes=frame.classes, input_size=frame.input_size, dropout=frame.dropout
    )  # fmt: skip


def layers_of(shape: Shape, teacher: Any = None) -> Architecture:
    """The layers of this shape. The teacher's layers are not used.

    Raises:
        ValueError: the architecture is unknown, or a layer is left without filters. The message begins with the name
            of the setting.
        UserError: a width is not divisible. The message begins with the name of the setting.
    """
    layers = narrowed(shape.architecture, shape.width_divisor)
    try:
        return layers.thinned(shape.rates)
    except UserError as error:
        raise ValueError(f"rates.{error}") from None
