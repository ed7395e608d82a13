"""Section `attribute`: which maps are made, of which networks, on what budget."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from attribution_preservation.settings import Count, Repeats, Section, Seed, Side, Steps, between, distinct

# As other names are; not imported from where those are defined, whose changes are none of this stage's.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# RISE divides by its share, and a smaller area than a thousandth has no pixel of the smallest image.
Share = Annotated[float, Field(gt=0, lt=1), between(0.001, 0.999)]
# What a file of maps holds beside them, and what results call the baselines.
_TAKEN = ("logits", "asked", "centre", "random")


class _Method(Section):
    """What every method has.

    Attributes:
        pairs: number of (image, class) pairs, evenly spaced over all; null for all of them.
    """

    pairs: Count | None = None


class GradCam(_Method):
    """Grad-CAM.

    Attributes:
        centred: explain logits that sum to 0 over the classes.
        positive_weights: only channels whose weight is positive.
    """

    maps: Literal["grad_cam"]
    centred: bool = False
    positive_weights: bool = False


class Plain(_Method):
    """Methods without a parameter of their own."""

    maps: Literal["excitation_bp", "lrp", "rap", "activation_gradient", "gradient_input", "deep_lift"]


class IntegratedGradients(_Method):
    """Integrated gradients.

    Attributes:
        steps: points on the line from the mean colour to the image.
    """

    maps: Literal["integrated_gradients"]
    steps: Repeats  # the quadrature's points come from the eigenvalues of a matrix of that size


class Rise(_Method):
    """RISE.

    Attributes:
        masks: how many.
        cells: of a mask's grid, per side.
        kept: probability that a cell shows the image.
        seed: of the masks.
    """

    maps: Literal["rise"]
    masks: Annotated[int, Field(gt=0, le=100_000)]  # in memory at once, each of the image's size
    cells: Side
    kept: Share
    seed: Seed


class MeaningfulPerturbation(_Method):
    """Fong and Vedaldi's optimised mask.

    Attributes:
        steps: of the optimiser.
        cells: of the mask, per side.
        seed: of the shifts.
    """

    maps: Literal["meaningful_perturbation"]
    steps: Steps
    cells: Annotated[Side, Field(ge=2)]
    seed: Seed


class ExtremalPerturbation(_Method):
    """Fong et al.'s masks of given areas.

    Attributes:
        steps: of the optimiser.
        cells: of the mask, per side.
        areas: shares of the image that masks show.
    """

    maps: Literal["extremal_perturbation"]
    steps: Steps
    cells: Annotated[Side, Field(ge=2)]
    areas: Annotated[list[Share], Field(min_length=1), AfterValidator(distinct)]


class InformationBottleneck(_Method):
    """Schulz et al.'s per-sample bottleneck.

    Attributes:
        layer: name of the layer where noise enters; null for the one that Grad-CAM looks at.
        steps: of the optimiser.
        samples: draws of noise per step.
        references: number of training images, the first ones, that tell how units are distributed.
        seed: of the noise.
    """

    maps: Literal["information_bottleneck"]
    layer: str | None = None
    steps: Steps
    samples: Repeats
    references: Count
    seed: Seed


_KIND_OF = {
    word: f"({tag})"
    for tag, words in {
        "grad_cam": ["grad_cam"],
        "plain": get_args(Plain.model_fields["maps"].annotation),
        "integrated_gradients": ["integrated_gradients"],
        "rise": ["rise"],
        "meaningful_perturbation": ["meaningful_perturbation"],
        "extremal_perturbation": ["extremal_perturbation"],
        "information_bottleneck": ["information_bottleneck"],
    }.items()
    for word in words
}


def _kind(value: Any) -> str | None:
    """Which of the forms below a value has; in parentheses, so that messages leave it out."""
    found = value.get("maps") if isinstance(value, dict) else getattr(value, "maps", None)
    return _KIND_OF.get(found) if isinstance(found, str) else None


Method = Annotated[
    Annotated[GradCam, Tag("(grad_cam)")]
    | Annotated[Plain, Tag("(plain)")]
    | Annotated[IntegratedGradients, Tag("(integrated_gradients)")]
    | Annotated[Rise, Tag("(rise)")]
    | Annotated[MeaningfulPerturbation, Tag("(meaningful_perturbation)")]
    | Annotated[ExtremalPerturbation, Tag("(extremal_perturbation)")]
    | Annotated[InformationBottleneck, Tag("(information_bottleneck)")],
    Discriminator(
        _kind,
        custom_error_type="unknown_maps",
        custom_error_message="maps must be one of " + ", ".join(_KIND_OF),
    ),
]


class Compared(Section):
    """The networks whose maps are compared across attribution methods.

    Attributes:
        students: names of students; of each, its last network counts.
        methods: what was matched in their training.
    """

    students: Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)]
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)]


class Attribute(Section):
    """Attribution maps.

    Attributes:
        batch_size: images, or (image, class) pairs, that are explained together.
        methods: attribution methods by name.
        every: those that are extracted from every network; the others only from the teacher and `compared`.
        compared: networks from which all are extracted.
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
