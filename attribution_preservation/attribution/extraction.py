"""Section `attribute`: which maps are computed, for which networks, and at what cost."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from attribution_preservation.attribution.method import Method
from attribution_preservation.settings import Count, Name, Section, distinct

# Other entries of a file of maps, and the names of the baselines in results.
_TAKEN = ("logits", "asked", "centre", "random")


class Compared(Section):
    """The networks whose maps are compared across attribution methods.

    Attributes:
        students: names of students; the last network of each is used.
        methods: matching methods that they were trained with.
    """

    students: Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)]
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)]


class Attribute(Section):
    """Attribution maps.

    Attributes:
        batch_size: images, or (image, class) pairs, that are explained together.
        methods: attribution methods by name.
        every: methods that explain every network; the others explain only the teacher and `compared`.
        compared: networks that all methods explain.
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
