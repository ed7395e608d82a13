"""Checks across the sections of a profile: names and numbers that must be consistent. Each error is one line."""

from collections.abc import Iterator
from typing import Any

from attribution_preservation.attribution.method import AttributionMethod
from attribution_preservation.attribution.methods import METHODS
from attribution_preservation.compression.compressions import COMPRESSIONS
from attribution_preservation.compression.shape import Shape
from attribution_preservation.data.source import DataSource
from attribution_preservation.data.sources import SOURCES
from attribution_preservation.entries import Entry, load, missing_line
from attribution_preservation.matching.loss import MapSettings, MatchingLoss, MatchingSettings
from attribution_preservation.matching.variants import methods_of
from attribution_preservation.models.architecture import NamedArchitecture
from attribution_preservation.optimization import Descent
from attribution_preservation.training.batch_sizes import check_epoch

MATCHED = [name for name, compression in COMPRESSIONS.items() if compression.matched]


def check_choices(profile: Any) -> None:
    """Refuse a profile whose sections are inconsistent.

    Raises:
        ValueError: a section is inconsistent; the message begins with the key.
    """
    seeds = [seed for group in profile.seed_groups.values() for seed in group]
    if len(seeds) != len(set(seeds)):
        raise ValueError("seed_groups: a seed stands there twice; every seed is one run")
    _check_folders(profile)
    _check_listed(profile)
    _check_exclusive(profile)
    _check_matchings(profile)
    images = SOURCES[profile.data.source].training_images(profile.data)
    for key, schedule in schedules(profile):
        check_epoch(key, schedule, images)


def schedules(profile: Any) -> Iterator[tuple[str, Descent]]:
    """Every section that trains, with its schedule."""
    for key in ("teacher", *COMPRESSIONS, "roar"):
        if schedule := getattr(profile, key).optimization:
            yield key, schedule


def runs(profile: Any, compression: str) -> bool:
    """Whether a profile trains any student of a compression."""
    section = getattr(profile, compression)
    return bool(section.students) and (not COMPRESSIONS[compression].matched or bool(section.matchings))


def methods_trained_by(profile: Any, compression: str) -> dict[str, MatchingSettings]:
    """The matching methods that a compression names, by their names in results."""
    names = getattr(profile, compression).matchings
    return {method: settings for name in names for method, settings in methods_of(name, profile.matching[name]).items()}


def _check_folders(profile: Any) -> None:
    holding = set()
    for stage in ("teacher", *COMPRESSIONS):
        folder = getattr(profile.folders, stage)
        if folder.split("/")[-1] != stage:
            raise ValueError(f"folders.{stage}: its last part must be {stage}")
        if stage == "teacher" or runs(profile, stage):
            holding.add(folder.split("/")[0])
        if any(other.startswith(f"{folder}/") for other in dict(profile.folders).values()):
            raise ValueError(f"folders.{stage}: {folder} holds another stage's folder")
    if set(profile.batches) != holding or len(profile.batches) != len(holding):
        raise ValueError(f"batches: these folders hold networks: {', '.join(sorted(holding))}")


def _check_listed(profile: Any) -> None:
    """The entries that the profile names must be in the lists, so that they are tested."""
    if load(DataSource, profile.data.source) is None:
        raise ValueError(f"data.source: {profile.data.source} is none of {', '.join(SOURCES)}")
    for key, kind, name in _entries(profile):
        if reason := missing_line(kind, name):
            raise ValueError(f"{key}: {reason}")


def _entries(profile: Any) -> Iterator[tuple[str, type[Entry], str]]:
    """Every entry that the profile names: the key in params.yaml, the kind and the name."""
    yield "data.source", DataSource, profile.data.source
    for name, method in profile.attribute.methods.items():
        yield f"attribute.methods.{name}.maps", AttributionMethod, method.maps
    for name, entry in profile.matching.items():
        for matching in methods_of(name, entry).values():
            yield f"matching.{name}", MatchingLoss, matching.maps
    for key, network in _networks(profile):
        yield f"{key}.architecture", NamedArchitecture, network.architecture


def _networks(profile: Any) -> Iterator[tuple[str, Any]]:
    """Every network that is described by an architecture, with its key in params.yaml."""
    for name, network in profile.teacher.networks.items():
        yield f"teacher.networks.{name}", network
    for compression in COMPRESSIONS:
        for name, settings in getattr(profile, compression).students.items():
            if isinstance(settings, Shape):
                yield f"{compression}.students.{name}", settings
    yield "roar.classifier", profile.roar.classifier


def _check_exclusive(profile: Any) -> None:
    """Refuse settings that need classes which do not exclude each other, for ImageNet; and the reverse."""
    if not SOURCES[profile.data.source].exclusive:
        if profile.teacher.optimization is None:
            raise ValueError("teacher.optimization: only ImageNet's classes have pretrained heads; others are trained")
        return
    if profile.data.checksum is not None:
        raise ValueError("data.checksum: ImageNet is a folder, only an archive has a checksum; set it to null")
    for name, method in profile.attribute.methods.items():
        if METHODS[method.maps].of_probability:
            raise ValueError(f"attribute.methods.{name}: explains a probability of its own, which no class here has")
    if profile.probe is not None:
        raise ValueError("probe: asks about several classes of an image; set it to null where classes exclude others")
    if profile.roar.students:
        raise ValueError(
            "roar.students: retrains for several classes of an image; leave none where they exclude others"
        )


def _check_matchings(profile: Any) -> None:
    methods: set[str] = set()
    for name, entry in profile.matching.items():
        for method, matching in methods_of(name, entry).items():
            if method in methods:
                raise ValueError(f"matching: the method {method} stands there twice")
            if method in ("teacher", "random"):
                raise ValueError(f"matching.{method}: this name stands for no method of matching; choose another")
            if isinstance(matching, MapSettings) and "strength" not in matching.model_fields_set:
                raise ValueError(f"matching.{name}: {method} has no strength")
            methods.add(method)
    for compression in MATCHED:
        names = getattr(profile, compression).matchings
        if unknown := [name for name in names if name not in profile.matching]:
            raise ValueError(f"{compression}.matchings: {unknown[0]} has no entry under matching")
        if len(names) != len(set(names)):
            raise ValueError(f"{compression}.matchings: a name stands there twice")
    compared, trained = set(profile.evaluate.methods), set()
    for compression in MATCHED:
        if runs(profile, compression):
            of_it = set(methods_trained_by(profile, compression))
            if not of_it & compared:
                raise ValueError(f"evaluate.methods: {compression}.matchings trains none of them")
            trained |= of_it
    if trained and (unknown := [method for method in profile.evaluate.methods if method not in trained]):
        raise ValueError(f"evaluate.methods: {unknown[0]} is no method that a compression trains")
