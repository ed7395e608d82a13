"""Titles of the entries that a profile names."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.entries import entry_of
from attribution_preservation.matching.loss import MatchingLoss
from attribution_preservation.matching.variants import methods_of
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.pipeline.profile_checks import runs


class _Titled(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def variant_titles(self) -> Mapping[str, str]: ...


def titles(profile: Profile) -> dict[str, dict[str, str]]:
    """Titles by word, in the fields of `attribution_preservation.reporting.titles.Titles`.

    A method has its entry's title where it has its entry's name, and that of a variant where it has that name; other
    names are the user's own. Entries that the profile does not name are left out: a new one changes no report.
    """
    matched = (named for name, entry in profile.matching.items() for named in methods_of(name, entry).items())
    explained = profile.attribute.methods.items()
    return {
        "methods": _of_methods((method, entry_of(MatchingLoss, settings.maps)) for method, settings in matched),
        "attributions": _of_methods((name, entry_of(AttributionMethod, settings.maps)) for name, settings in explained),
        "compressions": {
            name: _within_a_sentence(compression.title)
            for name, compression in COMPRESSIONS.items()
            if runs(profile, name)
        },
    }


def _of_methods(methods: Iterable[tuple[str, _Titled]]) -> dict[str, str]:
    titled = ((word, {entry.name: entry.title, **entry.variant_titles}.get(word)) for word, entry in methods)
    return {word: title for word, title in titled if title}


def _within_a_sentence(title: str) -> str:
    """`Weight pruning` as `weight pruning`; what is capital as a whole stays so."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]
