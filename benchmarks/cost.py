"""Cost of each profile, derived from its parameters and from measured rates: `python -m benchmarks.cost`.

Hours follow from the operations that `benchmarks.workload` counts and from the rates that the benchmark `training`
measured for each stage of the profile. For ImageNet, the benchmark `imagenet` also measured memory and the time outside
of training.
"""

import json
from dataclasses import replace
from pathlib import Path

from attribution_preservation.metrics.size import parameters
from attribution_preservation.models.architecture import narrowed
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import parse_yaml
from benchmarks.workload import (
    SETS,
    STUDENT,
    TEACHER,
    TEACHER_TWICE,
    TWICE,
    Step,
    Work,
    profile_text,
    steps,
    total,
    works,
)

PROFILES = ("digits", "voc_subset", "voc2012", "imagenet")
# Of ImageNet's evaluation images those with masks, of which maps are made.
MASKED = 4_276
TABLES = {"prune_weights": "Table 3", "prune_channels": "Table 4"}
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


def hours(works: list[Work], name: str, device: str) -> dict[str, float]:
    """Hours of every stage on a device, and of `all`; nothing where it was not measured."""
    rates = figures("training", device)
    rates |= {f"imagenet_{figure}": value for figure, value in figures("imagenet", device).items()}
    hours_of_stage = {
        work.stage: work.operations / (rates[key] * 1e9) / _HOUR
        for work in works
        if (key := f"{name}_{work.stage}_rate") in rates
    }
    return hours_of_stage | {"all": sum(hours_of_stage.values())} if hours_of_stage else {}


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
    hours_of_stage = {work.stage: work.operations / (rate * 1e12) / _HOUR for work in works}
    return hours_of_stage | {"all": sum(hours_of_stage.values())}


def figures(benchmark: str, device: str) -> dict[str, float]:
    """Figures of a benchmark by name; empty if it did not run."""
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
        profile = validate(Profile, parse_yaml(profile_text(name)))
        lines += [
            "",
            f"## {name}",
            "",
            "| stage | networks trained | images through training | PFLOP | CPU-hours, derived | CPU floor, hours "
            "| GPU-hours, derived | GPU floor, hours | files kept | GB |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        trained = list(works(profile, name))
        taken = []
        for device in ("cpu", "gpu"):
            taken += [hours(trained, name, device), floors(trained, profile.runtime.precision, device)]
        for work in [*trained, total("all", trained)]:
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
    """Cost of Tables 3 and 4 in two columns, in time, memory and disk; Markdown."""
    of_stage, step_of_stage = {work.stage: work for work in works(profile, "imagenet")}, steps(profile, "imagenet")
    seeds = sum(map(len, profile.seed_groups.values()))
    columns = [_of_table(of_stage[stage], step_of_stage[stage], seeds) for stage in TABLES]
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
    forward_operations = evaluated * (work.kept * step.operations + 2 * seeds * teacher.operations)
    for device in ("cpu", "gpu"):
        cells |= {f"{device.upper()} {row}": _NOT_MEASURED for row in _ROWS}
        if measured := figures("imagenet", device):
            values = (
                work.operations / (measured[f"{stage}_rate"] * 1e9) / _HOUR,
                forward_operations / (measured[f"{stage}_forward_rate"] * 1e9) / _HOUR,
                measured[f"{stage}_memory_fixed"] + batch * measured[f"{stage}_memory_per_image"],
                work.images / measured["decode_rate"] / _HOUR,
            )
            derived = zip(_ROWS, values, strict=True)
            cells |= {f"{device.upper()} {row}": f"{value:,.3g}" for row, value in derived}
    cells["memory: evaluation images, GB"] = f"{evaluated * 3 * size**2 / 1e9:.3g}"
    kept, of_teachers = work.kept + seeds, seeds * 4 * parameters(teacher.network())
    cells["disk: networks, GB"] = f"{(work.size + of_teachers) / 1e9:.3g}"
    # A map of the teacher's top class and one of the network's own, for every image with a mask.
    cells["disk: logits and maps, GB"] = f"{kept * 4 * (evaluated * classes + 2 * MASKED * side**2) / 1e9:.3g}"
    return cells


if __name__ == "__main__":
    OUT.write_text(text(), encoding="utf-8")
