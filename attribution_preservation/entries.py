"""Entries: what params.yaml chooses by a name is one record, in a module of that name.

`attribution/rise.py` holds `RISE`, whose name is `rise`; `attribution/methods.py` lists it among the others. Whoever
runs an entry loads its module alone, so that a new one leaves finished stages up to date. Whoever asks for all of them
(the check of a profile, the tests, the documentation) reads the list.
"""

import importlib
from typing import Any, ClassVar, TypeVar


class Entry:
    """Base of every kind of record. The entries of a kind are modules of the package that holds the kind's class.

    Attributes:
        name: the word for it in params.yaml.
        noun: what messages call a record of this kind.
        list_module: the module that lists the entries, in a variable of this name in capitals.
    """

    name: str
    noun: ClassVar[str]
    list_module: ClassVar[str]


E = TypeVar("E", bound=Entry)


def by_name(*entries: E) -> dict[str, E]:
    """A list of entries by their names.

    Raises:
        ValueError: two of them have the same name.
    """
    listed: dict[str, E] = {}
    for entry in entries:
        if entry.name in listed:
            raise ValueError(f"two entries are called {entry.name}: {listed[entry.name]!r} and {entry!r}")
        listed[entry.name] = entry
    return listed


def load(kind: type[E], name: Any) -> E | None:
    """The entry of a name, from its module; None where there is none.

    Args:
        kind: the class of the record.
        name: what stands in params.yaml, whatever it is.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return None
    path = f"{_package(kind)}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:  # the module is there, and what it needs is not
            raise
        return None
    entry = getattr(module, name.upper(), None)
    return entry if isinstance(entry, kind) else None


def entry_of(kind: type[E], name: Any) -> E:
    """The entry of a name, from its module.

    Raises:
        ValueError: there is none.
    """
    entry = load(kind, name)
    if entry is None:
        raise ValueError(f"there is no {kind.noun} {name}")
    return entry


def every(kind: type[E]) -> dict[str, E]:
    """The list of a kind's entries. It is imported by its name, so that the caller does not depend on it."""
    entries: dict[str, E] = getattr(
        importlib.import_module(f"{_package(kind)}.{kind.list_module}"), kind.list_module.upper()
    )
    return entries


def missing_line(kind: type[E], name: Any) -> str | None:
    """What is wrong with an entry that has a module and no line in the list, in words; None where nothing is."""
    if load(kind, name) is None or name in every(kind):
        return None
    return f"{name} is missing in {_package(kind).rpartition('.')[2]}/{kind.list_module}.py"


def _package(kind: type[Entry]) -> str:
    return kind.__module__.rpartition(".")[0]
