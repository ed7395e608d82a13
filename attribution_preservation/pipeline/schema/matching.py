"""Section `matching`: what is matched, and how strongly; one method, several that are trained together, or a sweep."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, TypeAdapter, model_validator

from attribution_preservation.settings import Count, Repeats, Section, between, distinct, validate

LayerName = Annotated[str, Field(pattern=r"^[a-z]+[0-9]+$")]
# The widest layer has 512 channels, of which this leaves one.
_MOST_DROPPED = 0.999
DroppedShare = Annotated[float, Field(ge=0, lt=1), between(0, _MOST_DROPPED)]
# A strength of 50 for a map of 7 x 7 is 10^6 for one of 1024 x 1024. Far above, the loss overflows float32.
Strength = Annotated[float, Field(ge=0, le=1e8)]
Maps = Literal[
    "none", "ewa", "swa", "neuron", "random_weights", "input_gradient", "integrated_gradients", "loss_gradient"
]
# Which options mean something, by map.
_FEATURES = {"strength", "layers", "images"}
_GRADIENT = {"rectifier", "centred", "student_dropout"}
_OPTIONS: dict[Maps, set[str]] = {
    "none": set(),
    "ewa": _FEATURES,
    "random_weights": _FEATURES | {"dropped_share"},
    "swa": _FEATURES | _GRADIENT | {"dropped_share"},
    "neuron": _FEATURES | _GRADIENT | {"dropped_share"},
    "input_gradient": {"strength", "images"} | _GRADIENT,
    "integrated_gradients": {"strength", "images", "rectifier", "centred", "steps"},
    "loss_gradient": {"strength", "images", "student_dropout"},
}


class Matching(Section):
    """One way of matching the student's attribution maps to the teacher's.

    Attributes:
        maps: what is matched: `none` (naive compression), `ewa` (equal weights), `swa` (sensitivity weights), `neuron`
            (gradient x activation without averaging over positions), `random_weights`, `input_gradient` (input x
            gradient), `integrated_gradients`, or `loss_gradient` (Zagoruyko and Komodakis' sensitivity).
        strength: factor of the matching loss in the total loss.
        dropped_share: share of the teacher's channels that each batch leaves out of the teacher's map; above 0, `swa`
            is SSWA.
        rectifier: V, what is done to negative values of a map.
        layers: names of the layers whose maps are matched (`pool4`); null for the last one.
        centred: explain logits that sum to 0 over the classes.
        images: `all`, or `right`: those whose top class of the teacher's is among their labels.
        student_dropout: whether the student's sensitivities see the dropout mask of its task forward.
        steps: points on the path of integrated gradients.
    """

    maps: Maps
    strength: Strength = 0.0
    dropped_share: DroppedShare = 0.0
    rectifier: Literal["identity", "relu", "abs"] = "relu"
    layers: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)] | None = None
    centred: bool = False
    images: Literal["all", "right"] = "all"
    student_dropout: bool = True
    steps: Repeats = 4

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if idle := sorted(self.model_fields_set - _OPTIONS[self.maps] - {"maps"}):
            raise ValueError(f"{idle[0]} means nothing for maps: {self.maps}")
        return self


class MatchingGroup(Section):
    """Methods that one stage instance trains, one after the other.

    Attributes:
        methods: by name.
        first_seeds: how many seeds of each group of seeds are trained; null for all.
    """

    methods: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Matching], Field(min_length=1)]
    first_seeds: Count | None


class MatchingSweep(Section):
    """One parameter of a method over several values.

    Attributes:
        sweep: the parameter.
        values: its values; the method that has value 5 is called NAME_5, NAME being that of this entry. Of `layers`
            each value is one layer.
        of: the method's other parameters.
        first_seeds: how many seeds of each group of seeds are trained; null for all.
    """

    sweep: Literal["strength", "dropped_share", "layers"]
    values: Annotated[list[Strength] | list[LayerName], Field(min_length=1)]
    of: Matching
    first_seeds: Count | None

    @model_validator(mode="after")
    def _every_value_is_possible(self) -> Self:
        if self.sweep not in _OPTIONS[self.of.maps]:
            raise ValueError(f"sweep: {self.sweep} means nothing for maps: {self.of.maps}")
        named = isinstance(self.values[0], str)
        if named != (self.sweep == "layers"):
            raise ValueError(f"values: {self.sweep} takes {'names of layers' if not named else 'numbers'}")
        distinct([written(value) for value in self.values])  # as the methods are named
        for value in self.values:
            if self.sweep == "dropped_share" and float(value) > _MOST_DROPPED:
                raise ValueError(f"values: a dropped_share of {value!r} leaves nothing; {_MOST_DROPPED} is the most")
        return self

    def at(self, value: float | str) -> Matching:
        """The method at one value."""
        return self.of.model_copy(update={self.sweep: [value] if self.sweep == "layers" else value})


def written(value: float | str) -> str:
    """A value of a sweep as methods are named after it."""
    return value if isinstance(value, str) else f"{value:g}"


def _kind(value: Any) -> str:
    if isinstance(value, MatchingGroup) or (isinstance(value, Mapping) and "methods" in value):
        return "(group)"
    if isinstance(value, MatchingSweep) or (isinstance(value, Mapping) and "sweep" in value):
        return "(sweep)"
    return "(method)"


# The tags are in parentheses so that a message can leave them out.
MatchingEntry = Annotated[
    Annotated[Matching, Tag("(method)")]
    | Annotated[MatchingGroup, Tag("(group)")]
    | Annotated[MatchingSweep, Tag("(sweep)")],
    Discriminator(_kind),
]
_ENTRY: TypeAdapter[Matching | MatchingGroup | MatchingSweep] = TypeAdapter(MatchingEntry)


def read_entry(name: str, value: Any) -> Matching | MatchingGroup | MatchingSweep:
    """An entry of the section, checked.

    Raises:
        UserError: one line that names the offending parameter.
    """
    return validate(_ENTRY, value, f"matching.{name}")


def methods_of(name: str, entry: Matching | MatchingGroup | MatchingSweep) -> dict[str, Matching]:
    """The methods of an entry, by the name that results give them."""
    if isinstance(entry, Matching):
        return {name: entry}
    if isinstance(entry, MatchingGroup):
        return dict(entry.methods)
    return {f"{name}_{written(value)}": entry.at(value) for value in entry.values}


def seeds_of(entry: Matching | MatchingGroup | MatchingSweep, seeds: list[int]) -> list[int]:
    """Which seeds of a group an entry is trained with."""
    return seeds if isinstance(entry, Matching) else seeds[: entry.first_seeds]
