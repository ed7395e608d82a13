"""What each profile costs, derived from its parameters and from what was measured: `python -m benchmarks.cost`.

Operations are counted, not estimated: those of one image's forward pass through the network in question, times the
passes that a step makes, times the images of all epochs of all runs. Hours follow from the rate at which the benchmark
`training` saw a device do those of each stage, as the profile has them done; for ImageNet, whose networks and images
have a benchmark of their own (`imagenet`), so do memory and what comes beside training.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from attribution_preservation.matching.loss import MatchingSettings, loss_of
from attribution_preservation.matching.variants import methods_of, read_entry, seeds_of
from attribution_preservation.metrics.size import multiply_accumulates, parameters
from attribution_preservation.models.architectures import narrowed
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.teacher_settings import FullNetwork
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import parse_yaml

PROFILES = ("digits", "voc_subset", "voc2012", "imagenet")
# Images for training and for evaluation, classes; pairs of the official VOC are those of its Segmentation/val.
SETS = {
    "digits": (6000, 300, 10),
    "voc_subset": (2419, 669, 20),
    "voc2012": (5717, 5823, 20),
    "imagenet": (1_281_167, 50_000 + 4_276, 1000),
}
# Of ImageNet's evaluation images those with masks, of which maps are made.
MASKED = 4_276
TABLES = {"prune_weights": "Table 3", "prune_channels": "Table 4"}
# Passes of a step, each as long as a forward pass: a backward pass is two.
STUDENT, TEACHER = 3, 1
# A gradient through the trunk that is differentiated again: one more pass to the input, and both backwards of it.
TWICE, TEACHER_TWICE = 7, 2
_HOUR = 3600
_NOT_MEASURED = "not measured"
_ROWS = (
    "hours of training, derived",
    "hours of predictions and maps, derived",
    "memory of a step of its batch, GB, derived",
    "core-hours of decoding, derived",
)
RESULTS = Path(__file__).parent / "results"
OUT = Path("docs/cost.md")


@dataclass(frozen=True)
class Work:
    """What the runs of one stage add up to.

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
    """What a stage trains, by its first student.

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

    found = {}
    if profile.teacher.optimization:
        found["teacher"] = whole(next(iter(networks.values())), {}, profile.teacher.optimization)
    weights, channels = profile.prune_weights, profile.prune_channels
    if weights.students:
        found["prune_weights"] = whole(networks[weights.teacher], {}, weights.optimization)
    for rates in list(channels.students.values())[:1]:
        found["prune_channels"] = whole(networks[channels.teacher], dict(rates), channels.optimization)
    for stage in ("distill", "scratch"):
        section = getattr(profile, stage)
        for shape in list(section.students.values())[:1]:
            network = shape.architecture, shape.width_divisor, dict(shape.rates)
            found[stage] = Step(*network, *shared, section.optimization)
    if profile.roar.students:
        shown = profile.roar.classifier
        network = shown.architecture, shown.width_divisor, {}
        size = shown.size or profile.input.size
        found["roar"] = Step(*network, shared[0], size, profile.roar.optimization)
    return found


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
        asked = section.optimization
        each = min(asked.images_per_epoch or train, train)
        return epochs * (each // asked.batch_size) * asked.batch_size

    if profile.teacher.optimization:
        shown = images(profile.teacher, profile.teacher.optimization.epochs) * seeds
        for network in profile.teacher.networks.values():
            operations, weights = whole(network)
            yield Work("teacher", seeds, shown, float(STUDENT * operations * shown), seeds, seeds * weights)

    def matched(stage: str, student: int, size_of_student: int, epochs: int, kept: int, teaches: bool) -> Work:
        section, runs, cost, (teacher, _) = getattr(profile, stage), 0, 0.0, teacher_of(stage)
        shown = images(section, epochs)
        for matching in section.matchings:
            entry = read_entry(matching, parse_yaml(_text(name))["matching"][matching])
            times = sum(len(seeds_of(entry, group)) for group in groups)
            for method in methods_of(matching, entry).values():
                runs += times
                cost += times * shown * _step(method, student, teacher, teaches)
        return Work(stage, runs, runs * shown, cost, runs * kept, runs * kept * size_of_student)

    found = []
    for steps in profile.prune_weights.students.values():
        kept = steps.iterations * (1 + len(steps.snapshots))
        pruned = teacher_of("prune_weights")
        found.append(matched("prune_weights", *pruned, steps.iterations * steps.epochs, kept, teaches=False))
    for rates in profile.prune_channels.students.values():
        student = whole(profile.teacher.networks[profile.prune_channels.teacher], tuple(rates.items()))
        found.append(matched("prune_channels", *student, profile.prune_channels.optimization.epochs, 1, teaches=False))
    for shape in profile.distill.students.values():
        student = _network(size, classes, shape.architecture, shape.width_divisor, tuple(shape.rates.items()))
        epochs, kept = profile.distill.optimization.epochs, 1 + len(profile.distill.snapshots)
        found.append(matched("distill", *student, epochs, kept, teaches=True))
    for shape in profile.scratch.students.values():
        student, weights = _network(size, classes, shape.architecture, shape.width_divisor, tuple(shape.rates.items()))
        shown = seeds * images(profile.scratch, profile.scratch.optimization.epochs)
        found.append(Work("scratch", seeds, shown, float(STUDENT * student * shown), seeds, seeds * weights))
    for stage in ("prune_weights", "prune_channels", "distill", "scratch"):
        of_stage = [work for work in found if work.stage == stage]
        if of_stage:
            yield _sum(stage, of_stage)
    roar, classifier = profile.roar, profile.roar.classifier
    if roar.students:
        orders = 3 + len(roar.students) * len(roar.methods)  # the teacher's maps, another image's, chance
        each = seeds * roar.retrainings
        runs = each * (orders * len(roar.percents) + 1)  # and one on whole images
        smaller, _ = _network(classifier.size or size, classes, classifier.architecture, classifier.width_divisor)
        shown = runs * images(roar, roar.optimization.epochs)
        yield Work("roar", runs, shown, float(STUDENT * smaller * shown), 0, 0)


def _step(method: MatchingSettings, student: int, teacher: int, teaches: bool) -> int:
    twice = loss_of(method).of == "input"
    steps = getattr(method, "steps", 1)
    if twice:
        return steps * (TWICE * student + TEACHER_TWICE * teacher)
    return STUDENT * student + TEACHER * teacher * (method.maps != "none" or teaches)


def _sum(stage: str, parts: list[Work]) -> Work:
    columns = zip(*((w.runs, w.images, w.operations, w.kept, w.size) for w in parts), strict=True)
    return Work(stage, *(sum(column) for column in columns))  # type: ignore[arg-type]


@cache
def _text(name: str) -> str:
    return Path(f"params/{name}.yaml").read_text(encoding="utf-8")


def hours(works: list[Work], name: str, device: str) -> dict[str, float]:
    """Hours of every stage on a device, and of `all`; nothing where it was not measured."""
    rates = figures("training", device)
    rates |= {f"imagenet_{figure}": value for figure, value in figures("imagenet", device).items()}
    found = {
        work.stage: work.operations / (rates[key] * 1e9) / _HOUR
        for work in works
        if (key := f"{name}_{work.stage}_rate") in rates
    }
    return found | {"all": sum(found.values())} if found else {}


def floors(works: list[Work], precision: str, device: str) -> dict[str, float]:
    """Hours that no training can go below: all operations at the rate of a device's large matrix products.

    Args:
        works: stages.
        precision: as the profile trains; products of its arithmetic were measured.
        device: cpu or gpu.
    """
    rate = figures("training", device).get(f"{precision}_matrix_rate")
    if rate is None:
        return {}
    found = {work.stage: work.operations / (rate * 1e12) / _HOUR for work in works}
    return found | {"all": sum(found.values())}


def figures(benchmark: str, device: str) -> dict[str, float]:
    """What a benchmark measured, by name; nothing where it did not run."""
    path = RESULTS / f"{benchmark}-{device}.json"
    return {f["name"]: f["value"] for f in json.loads(path.read_text())["figures"]} if path.exists() else {}


def text() -> str:
    """docs/cost.md."""
    whole = figures("pipeline", "cpu").get("digits_repro")
    lines = [
        "# What a profile costs",
        "",
        "Made by `python -m benchmarks.cost` from the profiles and from what was measured. Operations are counted: a",
        f"step takes {STUDENT} forward passes' worth of the student and {TEACHER} of the teacher (where it runs), and",
        f"{TWICE} and {TEACHER_TWICE} where the loss differentiates the trunk twice. Hours are **derived**: operations",
        "by the rate at which `python -m benchmarks training` saw the machine train that stage's network, as the",
        "profile says, in as many processes. Training alone: attribution, scores and probes come on top. The **floor**",
        "is what stays if nothing but matrix products took time: the same operations at the rate of the device's large",
        "products in the arithmetic of the profile (`runtime.precision`), measured by the same command.",
        "",
        "- CPU: two cores. " + (f"All stages of digits took {whole:.0f} minutes there, measured." if whole else ""),
        "- GPU: " + ("one." if figures("training", "gpu") else "not measured."),
    ]
    for name in PROFILES:
        profile = validate(Profile, parse_yaml(_text(name)))
        lines += [
            "",
            f"## {name}",
            "",
            "| stage | networks trained | images through training | PFLOP | CPU-hours, derived | CPU floor, hours "
            "| GPU-hours, derived | GPU floor, hours | files kept | GB |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        found = list(works(profile, name))
        taken = []
        for device in ("cpu", "gpu"):
            taken += [hours(found, name, device), floors(found, profile.runtime.precision, device)]
        for work in [*found, _sum("all", found)]:
            cells = [f"{of_device[work.stage]:.3g}" if of_device else _NOT_MEASURED for of_device in taken]
            lines.append(
                f"| {work.stage} | {work.runs:,} | {work.images:,} | {work.operations / 1e15:.3g} "
                f"| {' | '.join(cells)} | {work.kept:,} | {work.size / 1e9:.3g} |"
            )
        if name == "imagenet":
            lines += by_table(profile)
    lines += [
        "",
        "## How it grows",
        "",
        "- **Seeds**: everything, in proportion; a new seed trains no old one again.",
        "- **Images**: training, attribution and probes in proportion; the data set takes 3 bytes per pixel of the",
        "  originals on disk.",
        "- **Classes**: the head alone, and the number of (image, class) pairs that are explained and scored.",
        "- **Methods of matching**: training of the compressions that list them, attribution and scores in proportion;",
        "  `first_seeds: 1` keeps variants to one seed.",
        "- **Methods of attribution**: maps of teachers and compared students; a map file holds 4 h w bytes per pair.",
        "- **Side of the image**: with its square.",
        "- **DVC**: with the number of stage instances: seconds per instance, which `python -m benchmarks cluster`",
        "  measures.",
        "",
    ]
    return "\n".join(lines)


def by_table(profile: Profile) -> list[str]:
    """What Tables 3 and 4 cost beside each other, time, memory and disk; Markdown."""
    of_stage, shown = {work.stage: work for work in works(profile, "imagenet")}, steps(profile, "imagenet")
    seeds = sum(map(len, profile.seed_groups.values()))
    columns = [_of_table(of_stage[stage], shown[stage], seeds) for stage in TABLES]
    lines = [
        "",
        "By table. A step is SWA's; decoding runs in processes beside it (`runtime.workers`); predictions and maps are",
        "those of every network on all evaluation images, which a stage holds in memory once; the full network's copy",
        "for each seed is one of them, and answers once more for its students.",
        "",
        f"| | {' | '.join(TABLES.values())} |",
        f"|---|{'---|' * len(TABLES)}",
    ]
    return lines + [f"| {row} | {' | '.join(column[row] for column in columns)} |" for row in columns[0]]


def _of_table(work: Work, step: Step, seeds: int) -> dict[str, str]:
    _, evaluated, classes = SETS["imagenet"]
    batch, stage, size, teacher = step.optimization.batch_size, work.stage, step.size, replace(step, rates={})
    shape = narrowed(step.architecture, step.width_divisor)
    side = shape.map_sizes(size)[shape.explained_layer]
    cells = {"networks trained": f"{work.runs}", "training, PFLOP": f"{work.operations / 1e15:,.0f}"}
    asked = evaluated * (work.kept * step.operations + 2 * seeds * teacher.operations)
    for device in ("cpu", "gpu"):
        cells |= {f"{device.upper()} {row}": _NOT_MEASURED for row in _ROWS}
        if measured := figures("imagenet", device):
            values = (
                work.operations / (measured[f"{stage}_rate"] * 1e9) / _HOUR,
                asked / (measured[f"{stage}_forward_rate"] * 1e9) / _HOUR,
                measured[f"{stage}_memory_fixed"] + batch * measured[f"{stage}_memory_per_image"],
                work.images / measured["decode_rate"] / _HOUR,
            )
            found = zip(_ROWS, values, strict=True)
            cells |= {f"{device.upper()} {row}": f"{value:,.3g}" for row, value in found}
    cells["memory: evaluation images, GB"] = f"{evaluated * 3 * size**2 / 1e9:.3g}"
    kept, of_teachers = work.kept + seeds, seeds * 4 * parameters(teacher.network())
    cells["disk: networks, GB"] = f"{(work.size + of_teachers) / 1e9:.3g}"
    # A map of the teacher's top class and one of the network's own, for every image with a mask.
    cells["disk: logits and maps, GB"] = f"{kept * 4 * (evaluated * classes + 2 * MASKED * side**2) / 1e9:.3g}"
    return cells


if __name__ == "__main__":
    OUT.write_text(text(), encoding="utf-8")
