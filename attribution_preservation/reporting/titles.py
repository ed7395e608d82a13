"""Titles: names for readers in place of the words of params.yaml and results.csv."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError

TITLES = Path("data/titles.json")


@dataclass(frozen=True)
class Titles:
    """Titles by word; a word of the user's own stays as it is.

    Attributes:
        methods: of entries of `matching`.
        attributions: of entries of `attribute.methods`.
        compressions: as they stand within a sentence.
    """

    methods: Mapping[str, str] = field(default_factory=dict)
    attributions: Mapping[str, str] = field(default_factory=dict)
    compressions: Mapping[str, str] = field(default_factory=dict)

    def method(self, word: str) -> str:
        """Of a matching method, or of the teacher, with which methods are compared."""
        return "Teacher" if word == "teacher" else self.methods.get(word, word)

    def attribution(self, word: str) -> str:
        """Of an attribution method."""
        return self.attributions.get(word, word)

    def compression(self, word: str) -> str:
        """Of a compression."""
        return self.compressions.get(word, word)

    def network(self, method: str | None, compression: str) -> str:
        """Of a network among those of its student: by its method, or its compression where none was used."""
        return self.method(method) if method else self.compression(compression)

    def student(self, compression: str, student: str) -> str:
        """Of a student: `weight pruning, one shot 90`."""
        return f"{self.compression(compression)}, {student.replace('_', ' ')}"


def read_titles(path: Path) -> Titles:
    """Read what the stage check writes.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage check first") from None
    except ValueError:
        words = None
    names = {field.name for field in fields(Titles)}
    if not isinstance(words, dict) or words.keys() != names or not all(map(_are_titles, words.values())):
        raise UserError(f"{path} is damaged; run the stage check again")
    return Titles(**words)


def _are_titles(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(title, str) for title in value.values())
