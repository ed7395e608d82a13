"""Entries: what params.yaml chooses by a name is one record, in a module of that name.

`attribution/rise.py` holds `RISE`, whose name is `rise`; `attribution/methods.py` lists it among the others. Whoever
runs an entry loads its module alone, so that a new one leaves finished stages up to date. Whoever asks for all of them
(the check of a profile, the tests, the documentation) reads the list.
"""

import importlib
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """A record with a name."""

    @property
    def name(self) -> str:
        """The word for it in params.yaml."""


Entry = TypeVar("Entry", bound=Named)


def by_name(*entries: Entry) -> dict[str, Entry]:
    """A list of entries by their names.

    Raises:
        ValueError: two of them have the same name.
    """
    listed: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in listed:
            raise ValueError(f"two entries are called {entry.name}: {listed[entry.name]!r} and {entry!r}")
        listed[entry.name] = entry
    return listed


def load(package: str, name: Any, kind: type[Entry]) -> Entry | None:
    """The entry of a name, from its module; None where there is none.

    Args:
        package: of the modules.
        name: what stands in params.yaml, whatever it is.
        kind: the class of the record.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return None
    path = f"{package}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:  # the module is there, and what it needs is not
            raise
        return None
    entry = getattr(module, name.upper(), None)
    return entry if isinstance(entry, kind) else None
