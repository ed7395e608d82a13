"""The shape of a network as plain data (widths, layer names, map sizes), and the record of a shape with a name.

Parameters are checked with this module, so that it imports no torch before a network is built. A layer has the name
that people use. `models/vgg_shape.py` and `models/resnet_shape.py` say the names of their families.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import floor
from typing import TYPE_CHECKING, Any, ClassVar, Self

from attribution_preservation.entries import Entry, every, load
from attribution_preservation.errors import UserError

if TYPE_CHECKING:
    from attribution_preservation.models.network import Network

ALL = "all"  # among rates: every layer that is not named itself


class Architecture(ABC):
    """The shape of a network's trunk; a family of networks is a subclass.

    Attributes:
        family: its word in the files of networks.
        sequential: whether each layer reads the one before it and no other.
    """

    family: ClassVar[str]
    sequential: ClassVar[bool]

    @classmethod
    @abstractmethod
    def from_structure(cls, structure: dict[str, Any]) -> Self:
        """The shape that a network's `structure` describes, whose items of the shape are taken out of it."""

    @abstractmethod
    def network(self, *, classes: int, input_size: int, dropout: float, hidden: Iterable[int] = ()) -> "Network":
        """A network of this shape with initial weights.

        Args:
            classes: number of logits C.
            input_size: side of the square input in pixels.
            dropout: probability before the linear layer, or behind each hidden one.
            hidden: widths of hidden linear layers before the last.

        Raises:
            UserError: the input is too small.
            ValueError: the family refuses such hidden layers.
        """

    def refuses_hidden(self, hidden: Sequence[int]) -> str | None:
        """What is wrong with hidden layers of these widths before the last; None where nothing is."""
        return None

    @property
    @abstractmethod
    def layer_names(self) -> list[str]:
        """Names of the layers, from input to output; the last is the one that is matched unless another is named."""

    @property
    @abstractmethod
    def explained_layer(self) -> str:
        """Name of the layer whose output Grad-CAM weighs."""

    @property
    @abstractmethod
    def channels(self) -> dict[str, int]:
        """Channels of the output of each layer, by name."""

    @property
    @abstractmethod
    def widths(self) -> dict[str, int]:
        """Every width that the shape has, by the name of the convolution or layer that has it."""

    @property
    @abstractmethod
    def prunable(self) -> list[str]:
        """Names of the convolutions whose filters can be removed."""

    @abstractmethod
    def map_sizes(self, input_size: int) -> dict[str, int]:
        """Side of the output of each layer, by name, for a square input of `input_size` pixels.

        Raises:
            UserError: the input is too small.
        """

    @abstractmethod
    def with_widths(self, widths: Mapping[str, int]) -> Self:
        """The same shape with other widths, given as `widths` gives them."""

    @property
    def last_layer(self) -> str:
        """Name of the trunk's last layer."""
        return self.layer_names[-1]

    def thinned(self, rates: Mapping[str, float]) -> Self:
        """The shape that channel pruning leaves.

        Args:
            rates: share of the filters to remove, by the convolution's name or for `all` that are not named; 0 for the
                others.

        Raises:
            UserError: a name is no convolution's that can shrink, or a layer would lose all of its filters.
        """
        names, widths = self.prunable, self.widths
        each = rate_of_each(rates, names)
        if unknown := [name for name in each if name not in names]:
            raise UserError(
                f"{unknown[0]}: there is no such convolution that can shrink; there are {names[0]} to {names[-1]}"
            )
        kept = {name: kept_filters(widths[name], rate) for name, rate in each.items()}
        if empty := [name for name in names if kept.get(name, 1) < 1]:
            name = empty[0]
            raise UserError(f"{name}: a rate of {each[name]} leaves none of its {widths[name]} filters")
        return self.with_widths(widths | kept)

    def wider_than(self, teacher: "Architecture") -> str | None:
        """Where it has more channels than its teacher: the layer's name and both widths; None where nowhere.

        Networks with the same layers are compared layer by layer, others by their widest layer.
        """
        ours, theirs = self.widths, teacher.widths
        if ours.keys() != theirs.keys():
            widest = max(ours.values()), max(theirs.values())
            return f"{widest[0]} channels against {widest[1]}" if widest[0] > widest[1] else None
        for name, width in ours.items():
            if width > theirs[name]:
                return f"{name} has {width} channels against {theirs[name]}"
        return None


@dataclass(frozen=True)
class NamedArchitecture(Entry):
    """An architecture that params.yaml may name.

    Attributes:
        name: its word in params.yaml.
        title: its name for people.
        shape: of its trunk, in full width.
        weights: torchvision's ImageNet weights, as `torchvision.models.get_weight` takes them; None where there are
            none.
        hidden: widths of the hidden layers that those weights have.
    """

    noun: ClassVar = "architecture"
    list_module: ClassVar = "networks"
    name: str
    title: str
    shape: Architecture
    weights: str | None = None
    hidden: tuple[int, ...] = ()


def narrowed(architecture: str, width_divisor: int) -> Architecture:
    """The shape of a name, with every width divided.

    Raises:
        ValueError: there is no such architecture; the message begins with the setting.
        UserError: a width is not divisible; likewise.
    """
    entry = load(NamedArchitecture, architecture)
    if entry is None:
        names = ", ".join(every(NamedArchitecture))
        raise ValueError(f"architecture: there is no {architecture}; there are {names}")
    widths = entry.shape.widths
    if any(width % width_divisor for width in widths.values()):
        raise UserError(f"width_divisor: {width_divisor} does not divide every width of {architecture}")
    return entry.shape.with_widths({name: width // width_divisor for name, width in widths.items()})


def kept_filters(filters: int, rate: float) -> int:
    """How many of a layer's filters channel pruning keeps: floor(filters * (1 - rate)), in decimal arithmetic.

    (In binary, 10 * (1 - 0.9) is below 1.)
    """
    return floor(filters * (1 - Decimal(str(rate))))


def rate_of_each(rates: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Rates by layer: `all` stands for every one of `names` that is not named itself."""
    named = {name: rate for name, rate in rates.items() if name != ALL}
    return dict.fromkeys(names, rates[ALL]) | named if ALL in rates else named
