"""The whole of params.yaml: all sections, and the checks across them."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, create_model, model_validator

from attribution_preservation.attribution.extraction import Attribute
from attribution_preservation.compression.compression import Compression
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.data.framing import Input
from attribution_preservation.data.source import Data, data_section
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.entries import missing_line
from attribution_preservation.errors import UserError
from attribution_preservation.matching.variants import MatchingEntry
from attribution_preservation.metrics.analysis_settings import Analysis
from attribution_preservation.metrics.evaluate_settings import Evaluate
from attribution_preservation.metrics.probe_settings import Probe
from attribution_preservation.metrics.roar_settings import Roar
from attribution_preservation.models.teacher_settings import Teacher
from attribution_preservation.pipeline.profile_checks import check_choices
from attribution_preservation.pipeline.shape_checks import check_shapes
from attribution_preservation.reporting.report_settings import Figures, Report
from attribution_preservation.settings import Name, Section, Seed
from attribution_preservation.training.runtime_settings import Runtime

Folder = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)?$")]


class Folders(Section):
    """Folder of each stage's networks, below models/GROUP; the last part is the stage's name."""

    teacher: Folder


class Common(Section):
    """A complete set of parameters, as in each file in params/, without the sections of compressions.

    Attributes:
        profile: its name, shown in every result.
        seed_groups: seeds by group; one stage instance runs all seeds of a group. A seed is a whole run with its own
            teacher.
        batches: first parts of the `folders` that contain networks; attribute and evaluate have one instance for each.
    """

    profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    runtime: Runtime
    seed_groups: Annotated[dict[Name, Annotated[list[Seed], Field(min_length=1)]], Field(min_length=1)]
    batches: Annotated[list[Name], Field(min_length=1)]
    data: Data
    input: Input
    teacher: Teacher
    matching: dict[Name, MatchingEntry]
    attribute: Attribute
    evaluate: Evaluate
    probe: Probe | None
    analysis: Analysis
    roar: Roar
    report: Report
    figures: Figures

    @model_validator(mode="before")
    @classmethod
    def _is_listed(cls, values: Any) -> Any:
        # For a compression that has a file but is not in the list, "unknown parameter" would be misleading.
        if isinstance(values, Mapping):
            for name in values:
                if name not in cls.model_fields and (reason := missing_line(Compression, name)):
                    raise ValueError(f"{name}: {reason}")
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_choices(self)
        try:
            check_shapes(self)
        except UserError as error:
            raise ValueError(str(error)) from None
        return self


# A section for every compression of the list, and its folder; the settings of every data source.
Profile = create_model(
    "Profile",
    __base__=Common,
    __doc__=Common.__doc__,
    data=(data_section(SOURCES.values()), ...),
    folders=(create_model("Folders", __base__=Folders, **dict.fromkeys(COMPRESSIONS, (Folder, ...))), ...),
    **{name: (compression.settings, ...) for name, compression in COMPRESSIONS.items()},
)
