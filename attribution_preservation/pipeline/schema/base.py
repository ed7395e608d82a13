"""What every section of params.yaml has in common, and how a mistake in one is said."""

import reprlib
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from attribution_preservation.errors import UserError


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
