"""Does the input ever starve the step? Images per second that `Batches` yields, over those that an SWA step consumes.

In every round both do the same number of batches. `voc`: photographs, each cropped and flipped on the device; `digits`:
small scenes that nothing changes.
"""

from collections.abc import Callable, Iterator

import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.framing import Framing
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.models.build import build
from attribution_preservation.optimization import Augmentation
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.runtime import set_up
from benchmarks.measurement import Figure
from benchmarks.photographs import Photographs
from benchmarks.rounds import ratio, time_rounds
from benchmarks.training import CLASSES, runtime, schedule

TARGET = 1.2
_PLAIN = Augmentation(crop_scale=None, flip=0.0)
# Network, side of its input, batch and whether images are changed.
SETTINGS = {
    "cpu": {"digits": ("vgg6_bn", 56, 16, False), "voc": ("vgg16_bn", 96, 16, True)},
    "cuda": {"digits": ("vgg6_bn", 56, 16, False), "voc": ("vgg16_bn", 227, 64, True)},
}
_ROUNDS, _STEPS = 10, 4


def measure() -> list[Figure]:
    """The loader by itself, and with worker processes, against the step."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = runtime(device, "bf16-mixed" if device == "cuda" else "32-true")
    set_up(chosen)
    figures = []
    for name, (architecture, size, batch, changed) in SETTINGS[device].items():
        optimization = schedule(batch, None)
        if not changed:
            optimization = optimization.model_copy(update={"augmentation": _PLAIN})
        photographs = Photographs(4096)
        variants: dict[str, Callable[[], object]] = {"step": _steps(architecture, size, batch, device)}
        for workers in (0, 2) if changed else (0,):
            variants[f"workers_{workers}"] = _Loads(
                Batches(photographs, Framing(size=size), optimization, workers), device
            )
        rounds = time_rounds(variants, _ROUNDS, device)
        for variant in variants:
            if variant != "step":
                ratios = [r["step"] / r[variant] for r in rounds]
                target = TARGET if variant == "workers_0" else None
                figures.append(ratio(f"{name}_{variant}_over_step", ratios, "higher", target))
    return figures


class _Loads:
    """A few batches; each call continues the epoch of the call before."""

    def __init__(self, batches: Batches, device: str) -> None:
        self._batches, self._device, self._number = batches, device, 0
        self._epoch: Iterator = iter(())

    def __call__(self) -> None:
        for _ in range(_STEPS):
            if next(self._epoch, None) is None:
                self._number += 1
                self._epoch = self._batches.epoch("benchmark", self._number, device=self._device)
                next(self._epoch)


def _steps(architecture: str, size: int, batch: int, device: str) -> Callable[[], None]:
    torch.manual_seed(0)
    student, teacher = (build(architecture, 1, classes=CLASSES, input_size=size, dropout=0.5) for _ in range(2))
    objective = CompressionObjective(student, teacher, settings_of("swa", strength=50.0))
    objective.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-4, momentum=0.9, fused=device == "cuda")
    images = torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.rand(batch, CLASSES, device=device).round()

    def steps() -> None:
        for _ in range(_STEPS):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = objective(images, labels)["loss"]
            loss.backward()
            optimizer.step()

    return steps
