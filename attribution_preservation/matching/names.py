"""Names in results of the methods of an entry of `matching`. It does not import torch, because audits use it too."""

from typing import Any


def written(value: float | str) -> str:
    """A value of a sweep as text, as it appears in names of methods."""
    return value if isinstance(value, str) else f"{value:g}"


def method_names(name: str, entry: dict[str, Any]) -> list[str]:
    """Names of an entry's methods.

    Args:
        name: name of the entry.
        entry: the entry as params.yaml has it, already checked.
    """
    if "methods" in entry:
        return list(entry["methods"])
    if "sweep" in entry:
        return [f"{name}_{written(value)}" for value in entry["values"]]
    return [name]
