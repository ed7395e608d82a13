"""Section `prune_weights`: iterative magnitude pruning of single weights."""

from typing import Annotated

from pydantic import Field

from attribution_preservation.pipeline.schema.base import Section
from attribution_preservation.pipeline.schema.optimization import Optimization


class PruneWeights(Section):
    """Pruning in iterations, each followed by fine-tuning.

    Attributes:
        methods: names of entries of `matching`.
        iterations: number of pruning steps.
        rate: share of the remaining weights that each step removes; after k steps 1 - (1 - rate)^k are gone.
        optimization: the fine-tuning after each step; its epochs are those of one iteration.
    """

    methods: Annotated[list[str], Field(min_length=1)]
    iterations: Annotated[int, Field(ge=1, le=99)]
    rate: Annotated[float, Field(gt=0, lt=1)]
    optimization: Optimization
