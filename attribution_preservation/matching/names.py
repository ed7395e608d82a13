"""What results call the methods of an entry of `matching`; without torch, because an audit asks as well."""

from typing import Any


def written(value: float | str) -> str:
    """A value of a sweep as methods are named after it."""
    return value if isinstance(value, str) else f"{value:g}"


def method_names(name: str, entry: dict[str, Any]) -> list[str]:
    """Names of an entry's methods.

    Args:
        name: of the entry.
        entry: as it stands in params.yaml, where it has been checked.
    """
    if "methods" in entry:
        return list(entry["methods"])
    if "sweep" in entry:
        return [f"{name}_{written(value)}" for value in entry["values"]]
    return [name]
