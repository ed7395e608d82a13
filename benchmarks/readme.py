"""Tables in Markdown pages, made from committed files: `python -m benchmarks.readme` writes them.

README's of what the default profile found, from reports/metrics.json; docs/benchmarks.md's of what was measured.
"""

import json
from pathlib import Path
from typing import Any

from attribution_preservation.reporting.titles import TITLES, read_titles
from benchmarks.__main__ import NAMES, ON_DEVICE

README, BENCHMARKS = Path("README.md"), Path("docs/benchmarks.md")
METRICS = Path("reports/metrics.json")
RESULTS = Path(__file__).parent / "results"
# What only a GPU can show is asked for also where none was at hand: benchmark, figure, target.
_GPU_TARGETS = (
    ("matching", "vgg16_bn_swa_step_over_floor", "at most 1.1 ratio (GPU)"),
    ("training", "voc_epoch", "at most 5 s"),
    ("training", "bf16_over_float32", ""),
)
# Steps of `python -m benchmarks gpu` that are no benchmarks by themselves: step, figure, target.
_GPU_STEPS = (("correctness", "beyond_their_tolerance", "at most 0 figures"), ("real", "photographs_epoch", ""))
_METHODS = ("naive", "ewa", "swa", "sswa")
_NOT_MEASURED = "not measured"
_MANY = 5


def table(results: Path) -> str:
    """Every figure that has a target, with this target, by device; Markdown.

    Args:
        results: the folder of `NAME-cpu.json` and `NAME-gpu.json`.
    """
    lines = ["| benchmark | figure | target | CPU | GPU |", "|---|---|---|---|---|"]
    for name in NAMES:
        cpu, gpu = (_figures(results / f"{name}-{device}.json") for device in ("cpu", "gpu"))
        targets = {figure: target for benchmark, figure, target in _GPU_TARGETS if benchmark == name}
        with_target = {key: fields for key, fields in (cpu | gpu).items() if fields["target"] is not None}
        for figure, words in (_worst(with_target) | {key: key for key in targets}).items():
            target = targets.get(figure) or (_target(with_target[figure]) if figure in with_target else "")
            of_gpu = _value(gpu.get(figure)) if name in ON_DEVICE else ""
            lines.append(f"| {name} | {words.replace('_', ' ')} | {target} | {_value(cpu.get(figure))} | {of_gpu} |")
    for name, figure, target in _GPU_STEPS:
        of_gpu = _value(_figures(results / f"{name}-gpu.json").get(figure))
        lines.append(f"| {name} | {figure.replace('_', ' ')} | {target} |  | {of_gpu} |")
    return "\n".join(lines) + "\n"


def _worst(figures: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Figures with what to call them; of many with one target the worst stands for all."""
    alike: dict[tuple, list[str]] = {}
    for name, fields in figures.items():
        alike.setdefault((fields["target"], fields["unit"], fields["better"]), []).append(name)
    words = {}
    for (_, _, better), names in alike.items():
        if len(names) < _MANY:
            words |= {name: name for name in names}
        else:
            pick = max if better == "lower" else min
            worst = pick(names, key=lambda name: figures[name]["value"])
            words[worst] = f"{worst}, the worst of {len(names)}"
    return words


def _figures(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    return {figure["name"]: figure for figure in json.loads(path.read_text(encoding="utf-8"))["figures"]}


def _target(figure: dict[str, Any]) -> str:
    if figure["target"] is None:
        return ""
    bound = "at most" if figure["better"] == "lower" else "at least"
    return f"{bound} {figure['target']:g} {figure['unit']}"


def _value(figure: dict[str, Any] | None) -> str:
    return _NOT_MEASURED if figure is None else f"{figure['value']:.3g} {figure['unit']}"


def headlines(metrics: Path) -> str:
    """Every student's cosine to the full network's maps over all pairs, and its predictions, by method; Markdown."""
    titles = read_titles(TITLES)
    by_compression = json.loads(metrics.read_text(encoding="utf-8"))
    students = [
        (compression, student, figures)
        for compression, by_student in by_compression.items()
        if compression != "teacher"
        for student, figures in by_student.items()
    ]
    names = list(dict.fromkeys(name for *_, figures in students for name in figures if name in _METHODS))
    score = "mAP" if any("mean_ap" in figures.get(name, {}) for *_, figures in students for name in names) else "top-1"
    lines = [
        f"| compression | {' | '.join(f'{titles.method(name)}: cosine' for name in names)} "
        f"| {' | '.join(f'{titles.method(name)}: {score} %' for name in names)} |",
        f"|---|{'---|' * (2 * len(names))}",
    ]
    for compression, student, figures in students:
        if not any(name in figures for name in names):
            continue
        of = [figures.get(name, {}) for name in names]
        cells = [_mean(of_method.get("cosine_all"), 3) for of_method in of]
        cells += [_mean(of_method.get("mean_ap", of_method.get("top1")), 1) for of_method in of]
        sparsity = f", {100 * figures['sparsity']:.0f} % pruned" if "sparsity" in figures else ""
        lines.append(f"| {titles.student(compression, student)}{sparsity} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _mean(summary: dict[str, float] | None, digits: int) -> str:
    if summary is None:
        return ""
    deviation = f" ± {summary['deviation']:.{digits}f}" if "deviation" in summary else ""
    return f"{summary['mean']:.{digits}f}{deviation}"


def inserted(text: str, name: str, block: str) -> str:
    """A text with a block between the two marks of that name."""
    start, end = f"<!-- {name}: python -m benchmarks.readme -->\n", f"<!-- /{name} -->\n"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{block}{end}{after}"


def pages() -> dict[Path, str]:
    """Every page as it must be."""
    return {
        README: inserted(README.read_text(encoding="utf-8"), "headlines", headlines(METRICS)),
        BENCHMARKS: inserted(BENCHMARKS.read_text(encoding="utf-8"), "benchmarks", table(RESULTS)),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
