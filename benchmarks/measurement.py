"""The form in which every benchmark reports, on screen and as JSON."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

_PACKAGES = ("torch", "torchvision", "dvc", "numpy", "scikit-learn", "onnxruntime", "captum", "zennit")


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name, value, unit: what was measured.
        better: whether lower or higher is better.
        target: what it must reach; None where nothing is asked for.
        spread: smallest and largest of a few repeats, quartiles of many; None where there was one.
    """

    name: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    target: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a target and the value is on its wrong side, or is not a number."""
        if self.target is None:
            return False
        return not (self.value <= self.target if self.better == "lower" else self.value >= self.target)


@dataclass(frozen=True)
class Report:
    """A benchmark's figures, with the machine that they were taken on."""

    benchmark: str
    figures: list[Figure]
    device: str = field(default_factory=lambda: f"{platform.machine()} CPU, {os.cpu_count()} cores")

    @property
    def missed(self) -> list[Figure]:
        """Figures that miss their target."""
        return [figure for figure in self.figures if figure.missed]

    def text(self) -> str:
        """One line per figure."""
        lines = []
        for figure in self.figures:
            target = "" if figure.target is None else f", target {figure.target:g}{' MISSED' if figure.missed else ''}"
            lines.append(f"{figure.name}: {figure.value:.3g} {figure.unit}{target}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write the agreed JSON."""
        content = {
            "benchmark": self.benchmark,
            "device": self.device,
            "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
            "date": datetime.date.today().isoformat(),
            "figures": [asdict(figure) for figure in self.figures],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    """None if the package is not installed, because a benchmark may not need it."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None
