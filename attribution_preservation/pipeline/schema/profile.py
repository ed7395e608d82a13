"""The whole of params.yaml, and what must fit together across its sections."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, model_validator

from attribution_preservation.pipeline.schema.attribute import Attribute
from attribution_preservation.pipeline.schema.base import Section
from attribution_preservation.pipeline.schema.data import Data, Input
from attribution_preservation.pipeline.schema.evaluate import Evaluate
from attribution_preservation.pipeline.schema.matching import Matching
from attribution_preservation.pipeline.schema.prune_weights import PruneWeights
from attribution_preservation.pipeline.schema.reports import Figures, Tables
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.pipeline.schema.teacher import Teacher

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Profile(Section):
    """A complete set of parameters, as each file in params/ holds one.

    Attributes:
        profile: its name, shown in every result.
        seed_groups: seeds by group; one stage instance does all seeds of a group. A seed is a whole run with a
            teacher of its own.
    """

    profile: Name
    runtime: Runtime
    seed_groups: Annotated[dict[Name, Annotated[list[NonNegativeInt], Field(min_length=1)]], Field(min_length=1)]
    data: Data
    input: Input
    teacher: Teacher
    matching: Annotated[dict[Name, Matching], Field(min_length=1)]
    prune_weights: PruneWeights
    attribute: Attribute
    evaluate: Evaluate
    tables: Tables
    figures: Figures

    @model_validator(mode="after")
    def _fits_together(self) -> "Profile":
        seeds = [seed for group in self.seed_groups.values() for seed in group]
        if len(seeds) != len(set(seeds)):
            raise ValueError("seed_groups: a seed stands there twice; every seed is one run")
        methods = self.prune_weights.methods
        if unknown := [method for method in methods if method not in self.matching]:
            raise ValueError(f"prune_weights.methods: {unknown[0]} has no entry under matching")
        if len(methods) != len(set(methods)):
            raise ValueError("prune_weights.methods: a method stands there twice")
        if "teacher" in self.matching:
            raise ValueError("matching.teacher: this name stands for the teacher itself in the results; choose another")
        for key, schedule in (("teacher", self.teacher), ("prune_weights", self.prune_weights)):
            optimization = schedule.optimization
            images = [optimization.images_per_epoch or optimization.batch_size]
            images += [self.data.digits.train_images] if self.data.source == "digits" else []
            if optimization.batch_size > min(images):
                raise ValueError(f"{key}.optimization.batch_size: an epoch has only {min(images)} images")
        last = self.prune_weights.iterations
        for key, iterations in (
            ("tables.iterations", self.tables.iterations),
            ("figures.heatmap_iteration", [self.figures.heatmap_iteration]),
        ):
            if beyond := [k for k in iterations if k > last]:
                raise ValueError(f"{key}: there is no iteration {beyond[0]}, prune_weights.iterations is {last}")
        return self
