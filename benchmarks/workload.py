"""The work of a profile's training: networks, images and floating-point operations of every stage that trains.

Operations are counted, not estimated. They are the operations of one image's forward pass through the network, times
the passes of a step, times the images of all epochs of all runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from attribution_preservation.entries import entry_of
from attribution_preservation.matching.loss import MatchingLoss, MatchingSettings
from attribution_preservation.matching.variants import ENTRY, methods_of, seeds_of
from attribution_preservation.metrics.size import multiply_accumulates, parameters
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.teacher_settings import FullNetwork
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import parse_yaml

# Images for training and for evaluation, classes; pairs of the official VOC are those of its Segmentation/val.
SETS = {
    "digits": (6000, 300, 10),
    "voc_subset": (2419, 669, 20),
    "voc2012": (5717, 5823, 20),
    "imagenet": (1_281_167, 50_000 + 4_276, 1000),
}
# Passes of a step, each as long as a forward pass: a backward pass is two.
STUDENT, TEACHER = 3, 1
# A gradient through the trunk that is differentiated again: one more pass to the input, and both backwards of it.
TWICE, TEACHER_TWICE = 7, 2


@dataclass(frozen=True)
class Work:
    """Sums over the runs of one stage.

    Attributes:
        stage: its name.
        runs: networks that are trained, from their start to their end.
        images: that pass through training, repetitions included.
        operations: floating-point operations of training.
        kept: network files.
        size: bytes of these.
    """

    stage: str
    runs: int
    images: int
    operations: float
    kept: int
    size: int


@dataclass(frozen=True)
class Step:
    """One training step of a stage, for its first student.

    Attributes:
        architecture, width_divisor, rates, hidden: of the network.
        classes, size: what it tells apart, and the side of its input.
        optimization: its schedule.
    """

    architecture: str
    width_divisor: int
    rates: dict[str, float]
    classes: int
    size: int
    optimization: Optimization
    hidden: tuple[int, ...] = ()

    def network(self) -> Network:
        """A new one."""
        return build(
            self.architecture,
            self.width_divisor,
            self.rates,
            classes=self.classes,
            input_size=self.size,
            dropout=0.0,
            hidden=self.hidden,
        )

    @property
    def operations(self) -> int:
        """Of one image's forward pass."""
        return 2 * multiply_accumulates(self.network(), torch.zeros(1, 3, self.size, self.size))


def steps(profile: Profile, name: str) -> dict[str, Step]:
    """Every stage that trains, with what it trains."""
    shared, networks = (SETS[name][2], profile.input.size), profile.teacher.networks

    def whole(network: FullNetwork, rates: dict[str, float], optimization: Optimization) -> Step:
        shape = network.architecture, network.width_divisor, rates
        return Step(*shape, *shared, optimization, tuple(network.hidden))

    trained = {}
    if profile.teacher.optimization:
        trained["teacher"] = whole(next(iter(networks.values())), {}, profile.teacher.optimization)
    weights, channels = profile.prune_weights, profile.prune_channels
    if weights.students:
        trained["prune_weights"] = whole(networks[weights.teacher], {}, weights.optimization)
    for rates in list(channels.students.values())[:1]:
        trained["prune_channels"] = whole(networks[channels.teacher], dict(rates), channels.optimization)
    for stage in ("distill", "scratch"):
        section = getattr(profile, stage)
        for shape in list(section.students.values())[:1]:
            network = shape.architecture, shape.width_divisor, dict(shape.rates)
            trained[stage] = Step(*network, *shared, section.optimization)
    if profile.roar.students:
        classifier = profile.roar.classifier
        network = classifier.architecture, classifier.width_divisor, {}
        size = classifier.size or profile.input.size
        trained["roar"] = Step(*network, shared[0], size, profile.roar.optimization)
    return trained


@cache
def _network(
    size: int, classes: int, architecture: str, divisor: int, rates: tuple = (), hidden: tuple[int, ...] = ()
) -> tuple[int, int]:
    """Operations of one image's forward pass, and bytes of the weights."""
    network = build(architecture, divisor, dict(rates), classes=classes, input_size=size, dropout=0.0, hidden=hidden)
    return 2 * multiply_accumulates(network, torch.zeros(1, 3, size, size)), 4 * parameters(network)


def works(profile: Profile, name: str) -> Iterator[Work]:
    """Every stage that trains."""
    train, _, classes = SETS[name]
    groups = list(profile.seed_groups.values())
    seeds = sum(len(group) for group in groups)
    size = profile.input.size

    def whole(network: FullNetwork, rates: tuple = ()) -> tuple[int, int]:
        return _network(size, classes, network.architecture, network.width_divisor, rates, tuple(network.hidden))

    def teacher_of(stage: str) -> tuple[int, int]:
        return whole(profile.teacher.networks[getattr(profile, stage).teacher])

    def images(section: Any, epochs: int) -> int:
        schedule = section.optimization
        each = min(schedule.images_per_epoch or train, train)
        return epochs * (each // schedule.batch_size) * schedule.batch_size

    if profile.teacher.optimization:
        image_count = images(profile.teacher, profile.teacher.optimization.epochs) * seeds
        for network in profile.teacher.networks.values():
            operations, weights = whole(network)
            yield Work("teacher", seeds, image_count, float(STUDENT * operations * image_count), seeds, seeds * weights)

    def matched(stage: str, student: int, size_of_student: int, epochs: int, kept: int, teaches: bool) -> Work:
        section, runs, cost, (teacher, _) = getattr(profile, stage), 0, 0.0, teacher_of(stage)
        image_count = images(section, epochs)
        for matching in section.matchings:
            entry = validate(ENTRY, parse_yaml(profile_text(name))["matching"][matching], f"matching.{matching}")
            times = sum(len(seeds_of(entry, group)) for group in groups)
            for method in methods_of(matching, entry).values():
                runs += times
                cost += times * image_count * _step(method, student, teacher, teaches)
        return Work(stage, runs, runs * image_count, cost, runs * kept, runs * kept * size_of_student)

    trained = []
    for steps in profile.prune_weights.students.values():
        kept = steps.iterations * (1 + len(steps.snapshots))
        pruned = teacher_of("prune_weights")
        trained.append(matched("prune_weights", *pruned, steps.iterations * steps.epochs, kept, teaches=False))
    for rates in profile.prune_channels.students.values():
        student = whole(profile.teacher.networks[profile.prune_channels.teacher], tuple(rates.items()))
        trained.append(
            matched("prune_channels", *student, profile.prune_channels.optimization.epochs, 1, teaches=False)
        )
    for shape in profile.distill.students.values():
        student = _network(size, classes, shape.architecture, shape.width_divisor, tuple(shape.rates.items()))
        epochs, kept = profile.distill.optimization.epochs, 1 + len(profile.distill.snapshots)
        trained.append(matched("distill", *student, epochs, kept, teaches=True))
    for shape in profile.scratch.students.values():
        student, weights = _network(size, classes, shape.architecture, shape.width_divisor, tuple(shape.rates.items()))
        image_count = seeds * images(profile.scratch, profile.scratch.optimization.epochs)
        trained.append(
            Work("scratch", seeds, image_count, float(STUDENT * student * image_count), seeds, seeds * weights)
        )
    for stage in ("prune_weights", "prune_channels", "distill", "scratch"):
        of_stage = [work for work in trained if work.stage == stage]
        if of_stage:
            yield total(stage, of_stage)
    roar, classifier = profile.roar, profile.roar.classifier
    if roar.students:
        orders = 3 + len(roar.students) * len(roar.methods)  # the teacher's maps, another image's, chance
        each = seeds * roar.retrainings
        runs = each * (orders * len(roar.percents) + 1)  # and one on whole images
        smaller, _ = _network(classifier.size or size, classes, classifier.architecture, classifier.width_divisor)
        image_count = runs * images(roar, roar.optimization.epochs)
        yield Work("roar", runs, image_count, float(STUDENT * smaller * image_count), 0, 0)


def _step(method: MatchingSettings, student: int, teacher: int, teaches: bool) -> int:
    twice = entry_of(MatchingLoss, method.maps).of == "input"
    steps = getattr(method, "steps", 1)
    if twice:
        return steps * (TWICE * student + TEACHER_TWICE * teacher)
    return STUDENT * student + TEACHER * teacher * (method.maps != "none" or teaches)


def total(stage: str, parts: list[Work]) -> Work:
    """Several pieces of work as one, under the name of a stage."""
    columns = zip(*((w.runs, w.images, w.operations, w.kept, w.size) for w in parts), strict=True)
    return Work(stage, *(sum(column) for column in columns))  # type: ignore[arg-type]


@cache
def profile_text(name: str) -> str:
    """The parameters of a profile, as its file has them."""
    return Path(f"params/{name}.yaml").read_text(encoding="utf-8")
