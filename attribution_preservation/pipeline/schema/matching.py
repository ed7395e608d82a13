"""Section `matching`: one entry per method, named by the user, with what is matched and how strongly."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from attribution_preservation.pipeline.schema.base import Section


class Matching(Section):
    """One way of matching the student's attribution maps to the teacher's.

    Attributes:
        maps: `none` (naive compression), `ewa` (equal weights) or `swa` (sensitivity weights).
        strength: factor of the matching loss in the total loss.
        dropped_share: share of the teacher's channels that each batch leaves out of the teacher's map; above 0, `swa`
            is SSWA.
        student_dropout: whether the student's sensitivities see the dropout mask of its task forward.
    """

    maps: Literal["none", "ewa", "swa"]
    strength: NonNegativeFloat = 0.0
    dropped_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    student_dropout: bool = True
