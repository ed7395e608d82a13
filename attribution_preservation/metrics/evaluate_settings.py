"""Section `evaluate`: how maps and predictions are scored."""

from typing import Annotated

from pydantic import AfterValidator, Field

from attribution_preservation.settings import Section, Seed, distinct


class Evaluate(Section):
    """Scores.

    Attributes:
        methods: names of the methods that tables compare. The pairs that they and the teacher all predict are the
            population `common`.
        random_seed: seed of the uniform random baseline's maps.
    """

    methods: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    random_seed: Seed
