"""The site's list of the entries that params.yaml may choose, read from the lists, the records and their docstrings.

`conf.py` appends `markdown()` to the page `choices.md` while Sphinx reads it. A kind of entry (`Kind`) is a heading of
the page. Each of its entries is a section, and each field of the entry's settings is a row: key, type with bounds,
default, meaning. The meaning is the field's text under `Attributes:` in the docstring of the settings' class or, where
that has none, of the classes that it inherits from, in Python's order.
"""

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AfterValidator
from pydantic.fields import FieldInfo

from attribution_preservation.attribution import method
from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.compression import Compression
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.data.source import DataSource
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.matching import loss
from attribution_preservation.matching.loss import MatchingLoss
from attribution_preservation.matching.losses import LOSSES
from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.models.networks import NETWORKS
from attribution_preservation.settings import Between, Section

_TYPES = {bool: "`true` or `false`", int: "integer", float: "number", str: "text"}
_NEEDS = {
    "forward": "It needs a forward pass, and no gradient.",
    "gradient": "It needs the gradient of a logit with respect to the image.",
    "layer": "It needs a layer from which the rest of the network can be run.",
    "relevance rules": "It needs a relevance rule for every layer of the network.",
}


@dataclass(frozen=True)
class Kind:
    """One list of entries.

    Attributes:
        title: heading of its part of the page.
        chosen: where params.yaml chooses one, and where the entry's settings stand; Markdown.
        package: folder of the library that has a module for each entry.
        entries: the list, by name.
        facts: from a record to sentences about what it needs, gives and refuses.
        word: the setting that holds the entry's name; None where the name is a key.
    """

    title: str
    chosen: str
    package: str
    entries: Mapping[str, Any]
    facts: Callable[[Any], Iterator[str]]
    word: str | None = None


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        key: below the section that has the entry's settings, with dots; NAME is a name that the user gives.
        type: the type and its bounds in words, Markdown.
        default: in YAML, or `required`; Markdown.
        meaning: Markdown.
    """

    key: str
    type: str
    default: str
    meaning: str


def _refusal(record: Any) -> Iterator[str]:
    if record.refuses not in (method.nothing_refused, loss.nothing_refused):
        if not record.refuses.__doc__:
            raise ValueError(f"{record.name}: the function that refuses has no docstring")
        yield _escaped(f"It {_summary(record.refuses)[0].lower()}{_summary(record.refuses)[1:]}")


def _of_method(record: AttributionMethod) -> Iterator[str]:
    yield _NEEDS[record.needs]
    yield f"Maps have the resolution of {'a layer' if record.resolution == 'layer' else 'the image'}."
    if record.of_probability:
        yield "It explains the probability of one class, so data sets whose classes exclude each other refuse it."
    if record.knows_training:
        yield "It uses statistics of the trained network, so `probe.randomization.methods` refuses it."
    yield from _refusal(record)


def _of_loss(record: MatchingLoss) -> Iterator[str]:
    if record.map is not None:
        yield f"It compares maps of {'layers' if record.of == 'layers' else 'the input'}."
    yield from _refusal(record)


def _of_compression(record: Compression) -> Iterator[str]:
    if record.matched:
        yield "Its students are trained with each entry of `matching` that `matchings` names."
    else:
        yield "Its students are trained without matching."


def _of_source(record: DataSource) -> Iterator[str]:
    yield "Each image has one class." if record.exclusive else "An image may have several classes."


def _of_network(record: NamedArchitecture) -> Iterator[str]:
    if record.weights:
        hidden = f" with `hidden: {json.dumps(record.hidden)}`" if record.hidden else ""
        yield f"`init: imagenet` starts it from ImageNet weights of torchvision{hidden}."
    yield f"Its layers are {', '.join(f'`{name}`' for name in record.shape.layer_names)}."


KINDS = (
    Kind(
        "Attribution methods",
        "An entry of `attribute.methods` chooses one by `maps`. Settings are keys of that entry.",
        "attribution",
        METHODS,
        _of_method,
        "maps",
    ),
    Kind(
        "Matching losses",
        "An entry of `matching` chooses one by `maps`. Settings are keys of that entry.",
        "matching",
        LOSSES,
        _of_loss,
        "maps",
    ),
    Kind(
        "Compressions",
        "Each compression has a section of its own in params.yaml, with its name. Settings are keys of that section.",
        "compression",
        COMPRESSIONS,
        _of_compression,
    ),
    Kind(
        "Data sources",
        "`data.source` chooses one. Settings are keys of the section of `data` that has the source's name.",
        "data",
        SOURCES,
        _of_source,
    ),
    Kind(
        "Networks",
        "`architecture` chooses one, in `teacher.networks` and where a student has a shape of its own.",
        "models",
        NETWORKS,
        _of_network,
    ),
)


def markdown() -> str:
    """The part of the page that lists entries.

    Raises:
        ValueError: a setting has no meaning, or a type that has no words here; the message names class and field.
    """
    return "\n".join(line for kind in KINDS for line in ("", f"## {kind.title}", "", kind.chosen, *_entries(kind), ""))


def _entries(kind: Kind) -> Iterator[str]:
    for name, record in kind.entries.items():
        module = importlib.import_module(f"attribution_preservation.{kind.package}.{name}")
        link = f"[{kind.package}.{name}](api/{kind.package}.md#{kind.package}{name})"
        yield from ("", f"### `{name}`", "", f"**{_escaped(record.title)}**. {_escaped(_summary(module))}")
        yield from (*kind.facts(record), f"Module: {link}.", "")
        settings = getattr(record, "settings", None)
        if settings is None:
            yield "It has no settings of its own."
            continue
        yield from ("| setting | type | default | meaning |", "|---|---|---|---|")
        for row in sorted(rows(settings), key=lambda row: row.key != kind.word):  # that one first
            described = f"`{name}`" if row.key == kind.word else row.type
            yield f"| `{row.key}` | {described} | {row.default} | {row.meaning} |"


def rows(section: type[Section], prefix: str = "") -> Iterator[Row]:
    """Every field of a section, each followed by those of the section that it holds.

    Raises:
        ValueError: a field has no meaning, or a type that has no words here.
    """
    for name, field in section.model_fields.items():
        where = f"{section.__module__}.{section.__name__}.{name}"
        try:
            described = words(field.annotation, field.metadata)
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from None
        yield Row(f"{prefix}{name}", described, _default(field), _escaped(_meaning(section, name, where)))
        for path, inner in _sections(field.annotation):
            yield from rows(inner, f"{prefix}{name}{path}.")


def _meaning(section: type[Section], name: str, where: str) -> str:
    for holder in section.__mro__:
        if text := meanings(holder.__dict__.get("__doc__") or "").get(name):
            return text
    raise ValueError(f"{where}: no docstring says under Attributes what it means")


def meanings(docstring: str) -> dict[str, str]:
    """The texts under `Attributes:` in a docstring, by the name of the attribute; those of `a, b: ...` are the same."""
    _, _, section = inspect.cleandoc(docstring).partition("\nAttributes:\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        if head := re.fullmatch(r" {4}(\w+(?:, \w+)*):\s*(.*)", line):
            names = head[1].split(", ")
            texts |= dict.fromkeys(names, head[2])
        else:
            texts |= {name: f"{texts[name]} {line.strip()}".strip() for name in names}
    return texts


def words(kind: Any, metadata: Sequence[Any] = ()) -> str:
    """A type with its bounds, in Markdown.

    Args:
        kind: an annotation, with or without metadata.
        metadata: further metadata, as a pydantic field has it.

    Raises:
        TypeError: there are no words for such a type.
    """
    kind, metadata = _plain(kind, metadata)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join("`null`" if part is NoneType else words(part) for part in parts)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is list:
        return f"list of {_length(metadata)}: {words(parts[0])}"
    if origin is dict:
        return f"for each name: {words(parts[1])}"
    if isinstance(kind, type) and issubclass(kind, Section):
        return "section"
    if kind not in _TYPES:
        raise TypeError(f"no words for the type {kind}")
    patterns = [constraint.pattern for constraint in metadata if getattr(constraint, "pattern", None)]
    matching = "".join(f" that matches {_escaped(f'`{pattern}`')}" for pattern in patterns)
    return f"{_TYPES[kind]}{_bounds(kind, metadata)}{matching}"


def _plain(kind: Any, metadata: Sequence[Any]) -> tuple[Any, list[Any]]:
    """A type without `Annotated`, and the constraints from there and from fields."""
    constraints = list(metadata)
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        constraints += more
    single = [[*item.metadata] if isinstance(item, FieldInfo) else [item] for item in constraints]
    return kind, [constraint for group in single for constraint in group]


def _bounds(kind: type, metadata: Sequence[Any]) -> str:
    """The strictest bounds, each of which is included or not."""
    least, most = [], []  # (value, whether it is excluded) so that of two equal bounds the stricter one is greater
    for constraint in metadata:
        if isinstance(constraint, Ge | Gt):
            excluded = isinstance(constraint, Gt)
            value = constraint.gt if excluded else constraint.ge
            least.append((value + 1, False) if kind is int and excluded else (value, excluded))
        elif isinstance(constraint, Le | Lt):
            excluded = isinstance(constraint, Lt)
            value = constraint.lt if excluded else constraint.le
            most.append((value - 1, False) if kind is int and excluded else (value, excluded))
        elif isinstance(constraint, AfterValidator) and isinstance(constraint.func, Between):
            least.append((constraint.func.least, False))
            most.append((constraint.func.most, False))
    lower = max(least, default=None)
    upper = min(most, key=lambda bound: (bound[0], not bound[1]), default=None)
    if lower and upper and not lower[1] and not upper[1]:
        return f" from {_number(lower[0])} to {_number(upper[0])}"
    limits = []
    if lower:
        limits.append(f" {'above' if lower[1] else 'of at least'} {_number(lower[0])}")
    if upper:
        limits.append(f" {'below' if upper[1] else 'of at most'} {_number(upper[0])}")
    return " and".join(limits)


def _number(value: float) -> str:
    return f"{int(value):,}" if isinstance(value, int) or (value.is_integer() and value < 1e15) else f"{value:g}"


def _length(metadata: Sequence[Any]) -> str:
    least = max((constraint.min_length for constraint in metadata if isinstance(constraint, MinLen)), default=0)
    most = min((constraint.max_length for constraint in metadata if isinstance(constraint, MaxLen)), default=None)
    if most is None:
        return f"at least {least}" if least else "any length"
    return f"{least}" if least == most else f"{least} to {most}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _sections(kind: Any) -> Iterator[tuple[str, type[Section]]]:
    """The sections inside a type, each with the end of its keys: `.NAME` below a mapping from names."""
    kind, _ = _plain(kind, ())
    if isinstance(kind, type) and issubclass(kind, Section):
        yield "", kind
    elif get_origin(kind) in (Union, UnionType, list, dict):
        path = ".NAME" if get_origin(kind) is dict else ""
        for part in get_args(kind):
            yield from ((f"{path}{end}", section) for end, section in _sections(part))


def _summary(described: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(inspect.getdoc(described).split("\n\n")[0].split())


def _escaped(text: str) -> str:
    """A text of a docstring in Markdown, inside a table too; `code` stays code."""
    code = text.split("`")
    code[::2] = [re.sub(r"([\\*|<\[\]])", r"\\\1", part) for part in code[::2]]
    code[1::2] = [part.replace("|", r"\|") for part in code[1::2]]
    return "`".join(code)
