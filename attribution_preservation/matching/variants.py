"""Section `matching`: one method, several that are trained together, or one parameter over several values."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from attribution_preservation.matching.loss import MOST_DROPPED, Matching, MatchingSettings, Strength
from attribution_preservation.matching.names import written
from attribution_preservation.settings import Count, Name, Section, distinct

_LAST = "last"  # point of a sweep over layers, for a method that names no layer
LayerName = Annotated[str, Field(pattern=r"^[a-z]+[0-9]+$")]


class MatchingGroup(Section):
    """Methods that one stage instance trains, one after the other.

    Attributes:
        methods: the methods by name.
        first_seeds: number of seeds of each group of seeds that are trained; null for all.
    """

    methods: Annotated[dict[Name, Matching], Field(min_length=1)]
    first_seeds: Count | None


class MatchingSweep(Section):
    """One parameter of a method over several values.

    Attributes:
        sweep: the parameter.
        values: its values. The method with value 5 is called NAME_5, where NAME is the name of this entry. Each value
            of `layers` is one layer.
        of: the method's other parameters.
        first_seeds: number of seeds of each group of seeds that are trained; null for all.
    """

    sweep: Literal["strength", "dropped_share", "layers"]
    values: Annotated[list[Strength] | list[LayerName], Field(min_length=1)]
    of: Matching
    first_seeds: Count | None

    @model_validator(mode="after")
    def _every_value_is_possible(self) -> Self:
        if self.sweep not in type(self.of).model_fields:
            raise ValueError(f"sweep: {self.sweep} means nothing for maps: {self.of.maps}")
        named = isinstance(self.values[0], str)
        if named != (self.sweep == "layers"):
            raise ValueError(f"values: {self.sweep} takes {'names of layers' if not named else 'numbers'}")
        distinct([written(value) for value in self.values])  # compared as in the methods' names
        for value in self.values:
            if self.sweep == "dropped_share" and float(value) > MOST_DROPPED:
                raise ValueError(f"values: a dropped_share of {value!r} leaves nothing; {MOST_DROPPED} is the most")
        return self

    def at(self, value: float | str) -> MatchingSettings:
        """The method at one value."""
        return self.of.model_copy(update={self.sweep: [value] if self.sweep == "layers" else value})


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
ENTRY: TypeAdapter[MatchingSettings | MatchingGroup | MatchingSweep] = TypeAdapter(MatchingEntry)


def methods_of(name: str, entry: MatchingSettings | MatchingGroup | MatchingSweep) -> dict[str, MatchingSettings]:
    """The methods of an entry, by their names in results."""
    if isinstance(entry, MatchingSettings):
        return {name: entry}
    if isinstance(entry, MatchingGroup):
        return dict(entry.methods)
    return {f"{name}_{written(value)}": entry.at(value) for value in entry.values}


def seeds_of(entry: MatchingSettings | MatchingGroup | MatchingSweep, seeds: list[int]) -> list[int]:
    """The seeds of a group with which an entry is trained."""
    return seeds if isinstance(entry, MatchingSettings) else seeds[: entry.first_seeds]


def sweeps_of(
    entries: Mapping[str, MatchingSettings | MatchingGroup | MatchingSweep], methods: Sequence[str]
) -> list[tuple[str, str, dict[float | str, str]]]:
    """The sweeps among the entries of `matching` that a compression trains.

    Args:
        entries: the entries by name.
        methods: the compared methods. A method that equals the swept method at some value becomes a point of the sweep.

    Returns:
        For each sweep its name, the parameter, and the method at each value. Numbers are ascending. Layers are in the
        order of params.yaml.
    """
    every = {
        method: settings for name, entry in entries.items() for method, settings in methods_of(name, entry).items()
    }
    sweeps = []
    for name, entry in entries.items():
        if not isinstance(entry, MatchingSweep):
            continue
        points: dict[float | str, str] = dict(zip(entry.values, methods_of(name, entry), strict=True))
        for method in methods:
            settings = every.get(method)
            if settings is None or settings.maps != entry.of.maps:
                continue
            value = getattr(settings, entry.sweep)
            if settings == entry.of.model_copy(update={entry.sweep: value}):
                points.setdefault(_LAST if value is None else value, method)
        sweeps.append((name, entry.sweep, points if entry.sweep == "layers" else dict(sorted(points.items()))))
    return sweeps
