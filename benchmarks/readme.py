"""README's table of what was measured, made from the committed results: `python -m benchmarks.readme` writes it."""

import json
from pathlib import Path
from typing import Any

from benchmarks.__main__ import NAMES, ON_DEVICE

START, END = "<!-- benchmarks: python -m benchmarks.readme -->\n", "<!-- /benchmarks -->\n"
RESULTS = Path(__file__).parent / "results"
# What only a GPU can show is asked for also where none was at hand: benchmark, figure, target.
ASKED = (
    ("matching", "vgg16_bn_swa_step_over_floor", "at most 1.1 ratio (GPU)"),
    ("training", "voc_epoch", "at most 5 s"),
    ("training", "bf16_over_float32", ""),
)
_NOT_MEASURED = "not measured"
_MANY = 5


def table(results: Path) -> str:
    """Every figure that has a target, beside it, by device; Markdown.

    Args:
        results: the folder of `NAME-cpu.json` and `NAME-gpu.json`.
    """
    lines = ["| benchmark | figure | target | CPU | GPU |", "|---|---|---|---|---|"]
    for name in NAMES:
        cpu, gpu = (_figures(results / f"{name}-{device}.json") for device in ("cpu", "gpu"))
        asked = {figure: target for benchmark, figure, target in ASKED if benchmark == name}
        with_target = {key: found for key, found in (cpu | gpu).items() if found["target"] is not None}
        for figure, words in (_worst(with_target) | {key: key for key in asked}).items():
            target = asked.get(figure) or (_target(with_target[figure]) if figure in with_target else "")
            of_gpu = _value(gpu.get(figure)) if name in ON_DEVICE else ""
            lines.append(f"| {name} | {words.replace('_', ' ')} | {target} | {_value(cpu.get(figure))} | {of_gpu} |")
    return "\n".join(lines) + "\n"


def _worst(figures: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Figures with what to call them; of many with one target the worst stands for all."""
    alike: dict[tuple, list[str]] = {}
    for name, found in figures.items():
        alike.setdefault((found["target"], found["unit"], found["better"]), []).append(name)
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
    return {figure["name"]: figure for figure in json.loads(path.read_text())["figures"]}


def _target(figure: dict[str, Any]) -> str:
    if figure["target"] is None:
        return ""
    bound = "at most" if figure["better"] == "lower" else "at least"
    return f"{bound} {figure['target']:g} {figure['unit']}"


def _value(figure: dict[str, Any] | None) -> str:
    return _NOT_MEASURED if figure is None else f"{figure['value']:.3g} {figure['unit']}"


def inserted(text: str, block: str) -> str:
    """A text with a block between the two marks."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{block}{END}{after}"


if __name__ == "__main__":
    path = Path("README.md")
    path.write_text(inserted(path.read_text(), table(RESULTS)))
