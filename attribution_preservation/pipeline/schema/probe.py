"""Section `probe`: what is asked of networks beside maps: images that lose pixels, noise, untrained layers, layers."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from attribution_preservation.pipeline.schema.base import Section, distinct

Percent = Annotated[int, Field(ge=1, le=99)]


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)):
        raise ValueError("the values must ascend")
    return values


class Removal(Section):
    """Pixels removed in the order of Grad-CAM maps.

    Attributes:
        pairs: number of (image, class) pairs, evenly spaced over all; null for all of them.
        percents: of the pixels that go, least and most important ones first.
        seed: of the order of pixels with equal values.
    """

    pairs: PositiveInt | None
    percents: Annotated[list[Percent], Field(min_length=1), AfterValidator(_ascending)]
    seed: NonNegativeInt


class Randomization(Section):
    """Layers of networks replaced by untrained ones.

    Attributes:
        methods: of attribution that are checked, of teachers.
        of_students: those of them that are checked of students as well.
        pairs: number of (image, class) pairs.
        draws: how often untrained weights are drawn.
        seed: of the first draw.
    """

    methods: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    of_students: Annotated[list[str], AfterValidator(distinct)]
    pairs: PositiveInt
    draws: PositiveInt
    seed: NonNegativeInt


class Corruption(Section):
    """Noise in the background, or in the objects.

    Attributes:
        deviations: standard deviations of the noise, in steps of the 8-bit scale.
        seed: of the noise.
    """

    deviations: Annotated[list[PositiveFloat], Field(min_length=1), AfterValidator(distinct)]
    seed: NonNegativeInt


class Layers(Section):
    """Hidden layers beside the teacher's.

    Attributes:
        names: of the layers.
        images: number of evaluation images, evenly spaced.
    """

    names: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    images: Annotated[int, Field(ge=3)]


class Probe(Section):
    """What is asked of teachers and of the students that `attribute.compared` names.

    Attributes:
        batch_size: images at once.
        removal, corruption: of their last networks.
        randomization: of teachers.
        layers: of every pruning iteration as well.
    """

    batch_size: PositiveInt
    removal: Removal
    randomization: Randomization
    corruption: Corruption
    layers: Layers
