"""What every section of params.yaml has in common, and how a mistake in one is said."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from attribution_preservation.errors import UserError


class Section(BaseModel):
    """A section of params.yaml: no unknown keys, no silent conversion of types, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=BaseModel)


def validate(schema: type[S], value: Any, key: str = "") -> S:
    """Check a value from params.yaml against its schema.

    Args:
        schema: the section's model.
        value: what YAML gave.
        key: where in params.yaml the value stands, for the message.

    Raises:
        UserError: one line that names the first offending parameter, what is wrong with it and what it is.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        where = ".".join(str(part) for part in (key, *first["loc"]) if part != "")
        if first["type"] == "value_error":  # ours, of several sections together: it names the place itself
            problem, got = str(first["ctx"]["error"]), ""
        elif first["type"] == "extra_forbidden":
            problem, got = "unknown parameter", ""
        else:
            problem = first["msg"][0].lower() + first["msg"][1:]
            got = "" if first["type"] == "missing" else f" (it is {first['input']!r})"
        more = f"; {len(others)} more like this" if others else ""
        raise UserError(
            f"params.yaml: {where + ': ' if where else ''}{problem}{got}{more}; see the files in params/"
        ) from None
