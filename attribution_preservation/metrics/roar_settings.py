"""Section `roar`: remove pixels and retrain (ROAR)."""

from typing import Annotated

from pydantic import AfterValidator, Field

from attribution_preservation.optimization import Optimization
from attribution_preservation.settings import Dropout, Repeats, Section, Side, distinct

Percent = Annotated[int, Field(ge=1, le=100)]


class Classifier(Section):
    """The network that is retrained from random weights.

    Attributes:
        architecture: a name in `attribution_preservation.models.networks`.
        width_divisor: divides the width of every convolution.
        dropout: probability before its linear layer.
        size: side of its square input in pixels, to which images are reduced after the removal; null leaves them.
    """

    architecture: str
    width_divisor: Annotated[int, Field(ge=1, le=64)]
    dropout: Dropout
    size: Side | None


class Roar(Section):
    """Remove pixels by their attribution, retrain, and measure the loss.

    Attributes:
        students: students of `distill` whose maps are tested, in addition to their teachers' maps.
        methods: matching methods whose networks are tested.
        percents: shares of the pixels of every image that are removed, in percent.
        retrainings: number of retrainings for each network, with different initial weights and batches.
        classifier: the network that is retrained.
        optimization: its training schedule.
    """

    students: Annotated[list[str], AfterValidator(distinct)]
    methods: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    percents: Annotated[list[Percent], Field(min_length=1), AfterValidator(distinct)]
    retrainings: Repeats
    classifier: Classifier
    optimization: Optimization
