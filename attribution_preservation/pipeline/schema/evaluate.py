"""Section `evaluate`: how maps and predictions are scored."""

from pydantic import NonNegativeInt

from attribution_preservation.pipeline.schema.base import Section


class Evaluate(Section):
    """Scores.

    Attributes:
        random_seed: of the uniform random baseline maps.
    """

    random_seed: NonNegativeInt
