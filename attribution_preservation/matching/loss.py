"""Matching losses: a map of each network, a distance between the two maps, and a record of the loss's properties."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, PlainValidator, SerializeAsAny, model_validator
from pydantic_core import PydanticCustomError

from attribution_preservation.entries import Entry, entry_of, every, load
from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.view import View
from attribution_preservation.settings import Section, between, distinct

# The widest layer has 512 channels, of which this leaves one.
MOST_DROPPED = 0.999
DroppedShare = Annotated[float, Field(ge=0, lt=1), between(0, MOST_DROPPED)]
# A strength of 50 for a map of 7 x 7 equals 10^6 for a map of 1024 x 1024. Far larger strengths overflow float32.
Strength = Annotated[float, Field(ge=0, le=1e8)]


class MatchingSettings(Section):
    """Settings that every matching loss has.

    Attributes:
        maps: name of the loss.
    """

    maps: str

    @model_validator(mode="before")
    @classmethod
    def _means_something(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and (others := sorted(set(values) - set(cls.model_fields))):
            words = {word for loss in every(MatchingLoss).values() for word in loss.settings.model_fields}
            if idle := [word for word in others if word in words]:
                raise ValueError(f"{idle[0]} means nothing for maps: {values.get('maps')}")
        return values


class MapSettings(MatchingSettings):
    """Settings that every matching loss of maps has.

    Attributes:
        strength: factor of the matching loss in the total loss.
        images: `all`, or `right`: images whose labels include the teacher's top class.
    """

    strength: Strength = 0.0
    images: Literal["all", "right"] = "all"


class LayerSettings(MapSettings):
    """Settings of maps that are computed from a layer's output.

    Attributes:
        layers: names of the layers whose maps are matched (`pool4`); null for the last one.
    """

    layers: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)] | None = None


class Dropped(Section):
    """Settings of maps that leave out some channels.

    Attributes:
        dropped_share: share of the teacher's channels that each batch leaves out of the teacher's map.
    """

    dropped_share: DroppedShare = 0.0


class Gradient(Section):
    """Settings of maps that are computed from the gradient of a logit.

    Attributes:
        rectifier: V, the function that is applied to a map; it decides what happens to negative values.
        centred: explain logits that sum to 0 over the classes.
    """

    rectifier: Literal["identity", "relu", "abs"] = "relu"
    centred: bool = False


class StudentDropout(Section):
    """Settings of maps that depend on dropout.

    Attributes:
        student_dropout: whether the student's maps use the dropout mask of its forward pass for the task.
    """

    student_dropout: bool = True


@dataclass(frozen=True)
class Target:
    """The classes and the layer that a map of one batch explains.

    Attributes:
        classes: the TEACHER's top class of each image, for both networks, int64 [B].
        labels: labels of the task, [B, C] or [B].
        layer: name of the layer; None if the maps have the input's resolution.
        drawn: 1 for each channel of the teacher that is used, else 0, [K]; None for the student, or if all are used.
    """

    classes: torch.Tensor
    labels: torch.Tensor
    layer: str | None
    drawn: torch.Tensor | None


def nothing_refused(settings: Any, channels: int) -> str | None:
    """Return None: the loss is defined for every layer."""
    return None


@dataclass(frozen=True)
class MatchingLoss(Entry):
    """One matching loss.

    Attributes:
        name: its word in params.yaml.
        title: its name in tables, in figures and on the page.
        map: function of one pass of a network, the target and the settings. It returns one map of each image,
            [B, h, w]. None if nothing is matched.
        settings: a subclass of `MatchingSettings`.
        of: whether there is one map for each matched layer, or one for the input.
        recorded: the tensors, in addition to the student's parameters, with respect to which autograd must
            differentiate: the output of each layer, the input, or nothing.
        draw: function of the number of channels, the share to leave out and a generator. It returns 1 for each channel
            that is used, else 0, [K].
        distance: distance of the student's map from the teacher's map, [B].
        refuses: function of the settings and a layer's number of channels. It returns the reason why the loss cannot
            use the layer, or None.
        example: the smallest settings, without `maps`; the contract tests run them.
        variant_titles: of settings of it that profiles name otherwise, by that name.
    """

    noun: ClassVar = "matching loss"
    list_module: ClassVar = "losses"
    name: str
    title: str
    map: Callable[[View, Target, Any], torch.Tensor] | None
    settings: type[MatchingSettings] = LayerSettings
    of: Literal["layers", "input"] = "layers"
    recorded: Literal["layers", "input", "nothing"] = "nothing"
    draw: Callable[[int, float, torch.Generator], torch.Tensor] | None = None
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = map_distance
    refuses: Callable[[Any, int], str | None] = nothing_refused
    example: Mapping[str, Any] = field(default_factory=lambda: {"strength": 50.0})
    variant_titles: Mapping[str, str] = field(default_factory=dict)


def _read(value: Any) -> MatchingSettings:
    name = value.get("maps") if isinstance(value, Mapping) else getattr(value, "maps", None)
    loss = load(MatchingLoss, name)
    if loss is None:
        names = ", ".join(every(MatchingLoss))
        raise PydanticCustomError("unknown_maps", "maps must be one of {names}", {"names": names})
    return loss.settings.model_validate(value)


Matching = Annotated[SerializeAsAny[MatchingSettings], PlainValidator(_read)]


def settings_of(maps: str, **options: Any) -> MatchingSettings:
    """The settings of a loss, with some options.

    Raises:
        ValueError: no loss has this name, the loss has no such option, or the option does not allow the value.
    """
    return entry_of(MatchingLoss, maps).settings(maps=maps, **options)
