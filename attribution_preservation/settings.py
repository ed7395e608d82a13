"""The base class of all sections of params.yaml, common types of parameters, and the message about a wrong one."""

import reprlib
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, overload

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from attribution_preservation.errors import UserError


@dataclass(frozen=True)
class Between:
    """The check of `between`.

    Attributes:
        least, most: the bounds, both included.
    """

    least: float
    most: float

    def __call__(self, value: float) -> float:
        """The value, if it is within the bounds.

        Raises:
            ValueError: it is not.
        """
        if not self.least <= value <= self.most:
            raise ValueError(f"should be from {self.least:g} to {self.most:g} (it is {reprlib.repr(value)})")
        return value


def between(least: float, most: float) -> AfterValidator:
    """Bounds of a number inside those that its type states, because arithmetic fails before it gets there."""
    return AfterValidator(Between(least, most))


# Of whatever a user names: it becomes a part of a path, of a DVC stage's name and of a column.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# torch takes 64 bits, NumPy nothing negative, and a column of results.csv is int64. What is derived from a seed by
# addition stays within torch's 64 bits.
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
# Numbers of images, pairs, epochs: no data set or run has more, and sums and products of two of them fit an int64.
Count = Annotated[int, Field(gt=0, le=10**9)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
# Repetitions of one computation that holds all of them, or works for minutes on each.
Repeats = Annotated[int, Field(gt=0, le=1000)]
# Steps of an optimiser over one map; published numbers are 10 to 800.
Steps = Annotated[int, Field(gt=0, le=10_000)]
# A side in pixels, or in cells of a grid over those.
Side = Annotated[int, Field(gt=0, le=1024)]
# RISE divides by its share, and a smaller area than a thousandth has no pixel of the smallest image.
Share = Annotated[float, Field(gt=0, lt=1), between(0.001, 0.999)]
# Above, 1 / (1 - p) leaves no more of a layer than noise, and in float32 it soon leaves nothing at all.
Dropout = Annotated[float, Field(ge=0, lt=1), between(0, 0.99)]


class Section(BaseModel):
    """A section of params.yaml: no unknown keys, no silent conversion of types, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def distinct(values: list[Any]) -> list[Any]:
    """A list in which nothing stands twice.

    Raises:
        ValueError: something does.
    """
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{twice[0]} stands there twice")
    return values


S = TypeVar("S", bound=BaseModel)


T = TypeVar("T")


@overload
def validate(schema: type[S], value: Any, key: str = "") -> S: ...
@overload
def validate(schema: TypeAdapter[T], value: Any, key: str = "") -> T: ...
def validate(schema: type[S] | TypeAdapter[T], value: Any, key: str = "") -> S | T:
    """Check a value from params.yaml against its schema.

    Args:
        schema: the section's model, or an adapter of a choice between several.
        value: what YAML gave.
        key: where in params.yaml the value stands, for the message.

    Raises:
        UserError: one line that names the first offending parameter, what is wrong with it and what it is.
    """
    try:
        return schema.validate_python(value) if isinstance(schema, TypeAdapter) else schema.model_validate(value)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        # Parts in parentheses tell which of several forms a value was read as; a user did not write them.
        where = ".".join(str(part) for part in (key, *first["loc"]) if part != "" and not str(part).startswith("("))
        if first["type"] == "value_error":  # ours: of several parameters together
            problem, got = str(first["ctx"]["error"]), ""
        elif first["type"] == "extra_forbidden":
            problem, got = "unknown parameter", ""
        else:
            problem = first["msg"][0].lower() + first["msg"][1:]
            got = "" if first["type"] == "missing" else f" (it is {reprlib.repr(first['input'])})"
        more = f"; {len(others)} more like this" if others else ""
        raise UserError(
            f"params.yaml: {where + ': ' if where else ''}{problem}{got}{more}; see the files in params/"
        ) from None
