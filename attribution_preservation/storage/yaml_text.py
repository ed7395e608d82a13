"""YAML as DVC reads and writes it: version 1.2, by the library that DVC itself uses.

DVC writes the number 0.00005 as `5e-05`. YAML 1.2 reads this as a number, YAML 1.1 (PyYAML) as a word. A stage, the
audit and DVC must read the same value, so nothing else in the project reads or writes YAML.
"""

import copy
import datetime
import functools
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from attribution_preservation.errors import UserError

_PLAIN = str | int | float | datetime.date | None
_MOST_VALUES = 10**6
_MOST_MERGED, _MOST_DEPTH = 10**4, 500
_MOST_BITS = 1024  # Python writes no number of 5,000 digits, and no float holds one

_BRACKETS = re.compile(r"[\[\]{}]")
_TOO_DEEP = "too many lists or mappings in one another"


def parse_yaml(text: str) -> Any:
    """The value of a YAML document: mappings, lists, words, numbers, truth values, dates and null.

    Args:
        text: text of the document. Tags cannot create other objects.

    Raises:
        ValueError: the document is not readable, has a key twice, or its aliases expand to too many values. The message
            is one line that says where.
    """
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    # A command reads dvc.yaml and params.yaml several times, and each reading takes a tenth of a second.
    _check_depth(text)
    # The C parser, if installed, reads some documents differently.
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    try:
        value = reader.load(text)
    except MarkedYAMLError as error:
        raise ValueError(_with_place(error)) from None
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (LookupError, TypeError, AttributeError, ArithmeticError):
        # The library raises these if a tag does not fit its value, as in `!!bool 1`.
        raise ValueError("a tag does not fit its value") from None
    if _size(value, {}) > max(_MOST_VALUES, len(text)):
        raise ValueError(f"its aliases stand for more than {_MOST_VALUES} values")
    return value


class _Constructor(SafeConstructor):
    """Merges mappings (`<<`) as DVC does, up to a limit."""

    def flatten_mapping(self, node: Any) -> None:
        own = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) > max(own, _MOST_MERGED):
            raise ValueError(f"a mapping merges more than {_MOST_MERGED} keys")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: the file is missing, is not YAML, or does not contain a mapping.
    """
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this in the project's root folder") from None
    except ValueError as error:
        raise UserError(f"{path} is not readable as YAML: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a mapping; compare with the files in params/")
    return value


def format_yaml(value: Any) -> str:
    """A value as DVC writes it into dvc.lock: one line per key or entry, in their order."""
    return _text(YAML(), value)


def format_yaml_line(value: Any) -> str:
    """A value in one line, as a person would write it."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.width, writer.sort_base_mapping_type_on_output = True, 10**6, False
    return _text(writer, value).removesuffix("\n...\n").strip()


def changed_by_dvc(value: Any) -> tuple[str, Any, Any] | None:
    """The first value that DVC would change when it rewrites dvc.lock: its dotted key, old and new value; else None.

    DVC rewrites the records of all stages when one stage has run, as the text in which it read them. A number with an
    exponent and 14 or more digits, such as 3.07698456428071e-06, may lose its last digit there. DVC would then find
    that the parameter has changed, and run the stage again every time.

    Args:
        value: contents of params.yaml, or a part of them.
    """
    dvc = YAML()
    rewritten = dict(_leaves(parse_yaml(_text(dvc, dvc.load(format_yaml(value))))))
    for key, before in _leaves(value):
        if repr(before) != repr(after := rewritten.get(key)):
            return key, before, after
    return None


def _text(writer: YAML, value: Any) -> str:
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue()


def _with_place(error: MarkedYAMLError) -> str:
    # The message of a repeated key has both values, which may be whole sections.
    problem = ", ".join(filter(None, (error.context, error.problem))).partition(" with value ")[0]
    mark = error.problem_mark or error.context_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _size(value: Any, sizes: dict[int, int | None]) -> int:
    """Number of values in a document whose aliases are expanded.

    Args:
        value: value of the document or of a part of it.
        sizes: sizes of the lists and mappings so far, by identity; None for those that contain this value.
    """
    if not isinstance(value, dict | list):
        _check_plain(value)
        return 1
    if id(value) in sizes:
        size = sizes[id(value)]
        if size is None:
            raise ValueError("an alias stands for a list or mapping that holds it")
        return size
    sizes[id(value)] = None
    if isinstance(value, dict):
        for key in value:
            _check_plain(key)
    size = 1 + sum(_size(below, sizes) for below in (value.values() if isinstance(value, dict) else value))
    sizes[id(value)] = size
    return size


def _check_plain(value: Any) -> None:
    if not isinstance(value, _PLAIN):
        raise ValueError(f"it holds a value of type {type(value).__name__}, which no parameter has")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"a whole number needs more than {_MOST_BITS} bits")
    if isinstance(value, str):
        value.encode()  # an escape such as \ud800 is not a character by itself, and cannot be encoded


def _check_depth(text: str) -> None:
    # The library compares every bracket with all open brackets, which takes quadratic time.
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > _MOST_DEPTH:
            raise ValueError(_TOO_DEEP)


def _leaves(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is not a list or mapping, with its dotted key."""
    if not isinstance(value, dict | list):
        yield above, value
        return
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(below, f"{above}.{key}" if above else str(key))
