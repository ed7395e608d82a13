"""Section `probe`: what is asked of networks beside maps: images that lose pixels, noise, untrained layers, layers."""

from typing import Annotated

from pydantic import AfterValidator, Field

from attribution_preservation.settings import Count, Repeats, Section, Seed, between, distinct

Percent = Annotated[int, Field(ge=1, le=99)]


# Up to the whole 8-bit scale, where little is left of an image; below, rounding takes the noise away.
Noise = Annotated[float, Field(gt=0), between(0.1, 255)]


def _distinct_as_written(values: list[float]) -> list[float]:
    distinct([f"{value:g}" for value in values])  # as metrics are named
    return values


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

    pairs: Count | None
    percents: Annotated[list[Percent], Field(min_length=1), AfterValidator(_ascending)]
    seed: Seed


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
    pairs: Count
    draws: Repeats
    seed: Seed


class Corruption(Section):
    """Noise in the background, or in the objects.

    Attributes:
        deviations: standard deviations of the noise, in steps of the 8-bit scale.
        seed: of the noise.
    """

    deviations: Annotated[list[Noise], Field(min_length=1), AfterValidator(_distinct_as_written)]
    seed: Seed


class Layers(Section):
    """Hidden layers beside the teacher's.

    Attributes:
        names: of the layers.
        images: number of evaluation images, evenly spaced.
    """

    names: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    # The unbiased estimate divides by n - 3; every image is compared with every other.
    images: Annotated[int, Field(ge=4, le=10_000)]


class Probe(Section):
    """What is asked of teachers and of the students that `attribute.compared` names.

    Attributes:
        batch_size: images at once.
        removal, corruption: of their last networks.
        randomization: of teachers.
        layers: of every pruning iteration as well.
    """

    batch_size: Count
    removal: Removal
    randomization: Randomization
    corruption: Corruption
    layers: Layers
