"""Section `attribute`: which maps are made, of which networks, on what budget."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from attribution_preservation.attribution.method import Method
from attribution_preservation.settings import Count, Name, Section, distinct

# What a file of maps holds beside them, and what results call the baselines.
_TAKEN = ("logits", "asked", "centre", "random")


class Compared(Section):
    """The networks whose maps are compared across attribution methods.

    Attributes:
        students: names of students; of each, its last network counts.
        methods: what was matched in their training.
    """

    students: Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)]
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)]


class Attribute(Section):
    """Attribution maps.

    Attributes:
        batch_size: images, or (image, class) pairs, that are explained together.
        methods: attribution methods by name.
        every: those that are extracted from every network; the others only from the teacher and `compared`.
        compared: networks from which all are extracted.
    """

    batch_size: Count
    methods: Annotated[dict[Name, Method], Field(min_length=1)]
    every: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    compared: Compared

    @model_validator(mode="after")
    def _names(self) -> Self:
        if taken := [name for name in self.methods if name in _TAKEN]:
            raise ValueError(f"methods.{taken[0]}: this name stands for no attribution method; choose another")
        if unknown := [name for name in self.every if name not in self.methods]:
            raise ValueError(f"every: {unknown[0]} is none of the methods {', '.join(self.methods)}")
        return self
