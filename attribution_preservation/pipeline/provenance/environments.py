"""Environments of all instances, in one file that is kept in git: reports/environments.json."""

from collections.abc import Mapping
from typing import Any


def summarized(environments: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every environment once, with the instances that ran in it (`made_with.environments_of` reads it)."""
    entries: list[dict[str, Any]] = []
    for name, environment in sorted(environments.items()):
        for entry in entries:
            if entry["environment"] == environment:
                entry["instances"].append(name)
                break
        else:
            entries.append({"environment": dict(environment), "instances": [name]})
    return entries
