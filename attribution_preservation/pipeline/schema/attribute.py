"""Section `attribute`: which maps are made."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from attribution_preservation.pipeline.schema.base import Section, distinct


class Attribute(Section):
    """Attribution maps of every network.

    Attributes:
        methods: names of attribution methods.
        batch_size: images per forward pass.
    """

    methods: Annotated[list[Literal["grad_cam"]], Field(min_length=1), AfterValidator(distinct)]
    batch_size: PositiveInt
