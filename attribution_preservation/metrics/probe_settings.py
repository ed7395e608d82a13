"""Section `probe`: further tests of networks: removed pixels, noise, untrained layers, similarity of hidden layers."""

from typing import Annotated

from pydantic import AfterValidator, Field

from attribution_preservation.settings import Count, Repeats, Section, Seed, between, distinct

Percent = Annotated[int, Field(ge=1, le=99)]


# At most the whole 8-bit scale, which leaves little of an image. Smaller noise than 0.1 vanishes by rounding.
Noise = Annotated[float, Field(gt=0), between(0.1, 255)]


def _distinct_as_written(values: list[float]) -> list[float]:
    distinct([f"{value:g}" for value in values])  # compared as in metrics' names
    return values


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)):
        raise ValueError("the values must ascend")
    return values


class Removal(Section):
    """Pixels removed in the order of Grad-CAM maps.

    Attributes:
        pairs: number of (image, class) pairs, evenly spaced over all; null for all of them.
        percents: shares of the pixels that are removed, in percent, once the least and once the most important pixels.
        seed: seed of the order of pixels with equal values.
    """

    pairs: Count | None
    percents: Annotated[list[Percent], Field(min_length=1), AfterValidator(_ascending)]
    seed: Seed


class Randomization(Section):
    """Layers of networks replaced by untrained ones.

    Attributes:
        methods: attribution methods that are checked on teachers.
        of_students: methods among them that are also checked on students.
        pairs: number of (image, class) pairs.
        draws: number of draws of untrained weights.
        seed: seed of the first draw.
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
        seed: seed of the noise.
    """

    deviations: Annotated[list[Noise], Field(min_length=1), AfterValidator(_distinct_as_written)]
    seed: Seed


class Layers(Section):
    """Comparison of hidden layers with the teacher's hidden layers.

    Attributes:
        names: names of the layers.
        images: number of evaluation images, evenly spaced.
    """

    names: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]
    # The unbiased estimate divides by n - 3. Every image is compared with every other image.
    images: Annotated[int, Field(ge=4, le=10_000)]


class Probe(Section):
    """Tests of teachers and of the students that `attribute.compared` names.

    Attributes:
        batch_size: images per forward pass.
        removal, corruption: tests of the last networks.
        randomization: test of teachers, and with `of_students` of students.
        layers: test of the last networks and of every pruning iteration.
    """

    batch_size: Count
    removal: Removal
    randomization: Randomization
    corruption: Corruption
    layers: Layers
