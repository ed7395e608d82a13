"""How fast a GPU trains: the step over its floor, images per second and memory by setting, and the loader."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count

import benchmarks.loader
from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.device import sent
from attribution_preservation.data.framing import Framing
from attribution_preservation.errors import UserError
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.process.streams import tell
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.augmentation import Crops
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.compiler import try_compiler
from attribution_preservation.training.loop import compile_trunks
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime
from benchmarks.gpu.machine import Machine
from benchmarks.matching import SETTINGS, Setting, ratios, training_step
from benchmarks.measurement import Figure
from benchmarks.photographs import HEIGHT, WIDTH, Photographs
from benchmarks.rounds import ratio, time_rounds
from benchmarks.training import CLASSES, flop_per_image, matrix_rate, network, rates, schedule, voc_epoch

# What differs from the profile's own settings, by name; what may be missing on a machine, a compiler, comes last.
VARIANTS: dict[str, dict[str, Any]] = {
    "bf16": {},
    "float32": {"precision": "32-true"},
    "tf32": {"precision": "tf32"},
    "bf16_not_deterministic": {"deterministic": False},
    "bf16_compiled": {"compile": True},
}
_SWA = settings_of("swa", strength=50.0)


def profile_runtime(device: str) -> Runtime:
    """Section `runtime` of voc2012, on a device.

    In the comparison with a GPU the CPU uses all cores; otherwise it uses one core, so that no process waits.
    """
    section = read_yaml(Path("params/voc2012.yaml"))["runtime"] | {"device": device}
    threads = cpu_count() if torch.cuda.is_available() else 1
    return validate(Runtime, section | ({"cpu_threads": threads} if device == "cpu" else {}))


def matching(machine: Machine) -> Iterator[Figure]:
    """The step over its floor, as `python -m benchmarks matching` measures it."""
    if machine.toy:
        for figure in ratios("vgg6_bn", Setting("digits", 5, 32, 4, 4), machine.device):
            yield replace(figure, target=None)  # four steps of a toy tell nothing
        return
    for architecture, setting in SETTINGS[machine.device].items():
        yield from ratios(architecture, setting, machine.device)


def training(machine: Machine) -> Iterator[Figure]:
    """An epoch of voc2012's pruning and the rates of its stages, as the profile says; then its step by setting.

    Of VGG16 and VGG16/8: images per second, share of the device's matrix rate, memory. A failure of a setting is
    reported, and the next setting is measured.
    """
    set_up(profile_runtime(machine.device))
    matrix = {
        precision: matrix_rate(machine.device, precision, 256 if machine.toy else 8192)
        for precision in ("32-true", "tf32", "bf16-mixed")
    }
    for precision, rate in matrix.items():
        yield Figure(f"{precision}_matrix_rate", rate / 1e12, "TFLOP/s", "higher")
    if not machine.toy:
        yield voc_epoch()
        yield from rates(machine.device, "voc2012")
    speeds: dict[str, float] = {}
    for name, changes in VARIANTS.items():
        for divisor in (16,) if machine.toy else (1, 8):
            chosen = profile_runtime(machine.device).model_copy(update=changes)
            if machine.toy and chosen.compile:
                continue
            what = f"vgg16_{divisor}_{name}"
            try:
                speed, memory = _speed(machine, chosen, divisor)
            except (UserError, RuntimeError) as error:  # no compiler, full memory
                tell(f"training: {what}: {str(error).splitlines()[0]}")
                continue
            speeds.setdefault(name, speed)
            yield Figure(f"{what}_images_per_second", speed, "img/s", "higher")
            share = speed * flop_per_image(_size(machine), divisor) / matrix[chosen.precision]
            yield Figure(f"{what}_share_of_matrix_rate", share, "share", "higher")
            if memory is not None:
                yield Figure(f"{what}_memory", memory / 2**30, "GiB", "lower")
    if {"bf16", "float32"} <= speeds.keys():
        yield Figure("bf16_over_float32", speeds["bf16"] / speeds["float32"], "ratio", "higher")
    yield _order_in_memory(machine)
    if not machine.toy:
        yield from rates(machine.device, "digits")


def _size(machine: Machine) -> int:
    return 32 if machine.toy else 227


def _step(
    machine: Machine, chosen: Runtime, divisor: int, order: torch.memory_format = torch.channels_last
) -> Callable[[], None]:
    """An SWA step on a batch that lies on the device."""
    processes, size, batch = Processes(chosen, set_up(chosen).torch), _size(machine), _batch(machine)
    torch.manual_seed(0)
    objective = CompressionObjective(network(size, divisor), network(size, divisor), _SWA)
    if chosen.compile:
        try_compiler(processes.device)
        compile_trunks(objective)
    objective.to(machine.device, memory_format=order)
    images = torch.randn(batch, 3, size, size, device=machine.device).contiguous(memory_format=order)
    labels = torch.rand(batch, CLASSES, device=machine.device).round()
    return training_step(objective, images, labels, processes)


def _batch(machine: Machine) -> int:
    return 4 if machine.toy else 64


def _speed(machine: Machine, chosen: Runtime, divisor: int) -> tuple[float, int | None]:
    """Images per second, and bytes of the GPU's memory at the most."""
    step, count = _step(machine, chosen, divisor), 2 if machine.toy else 20
    if not machine.toy:
        torch.cuda.reset_peak_memory_stats()

    def steps() -> None:
        for _ in range(count):
            step()

    seconds = [r["steps"] for r in time_rounds({"steps": steps}, 3, machine.device)]
    memory = None if machine.toy else torch.cuda.max_memory_allocated()
    return count * _batch(machine) / statistics.median(seconds), memory


def _order_in_memory(machine: Machine) -> Figure:
    """How much longer a step takes where channels come first in memory."""
    orders = {"last": torch.channels_last, "first": torch.contiguous_format}
    runtime, divisor = profile_runtime(machine.device), 16 if machine.toy else 1
    steps = {name: _step(machine, runtime, divisor, order) for name, order in orders.items()}
    rounds = time_rounds(steps, 4 if machine.toy else 20, machine.device)
    return ratio("channels_first_over_channels_last", [r["first"] / r["last"] for r in rounds], "higher", None)


def loader(machine: Machine) -> Iterator[Figure]:
    """Batches from the host's store, by as many workers as voc2012 asks for, against batches cut on the device.

    On the device the store of photographs lies there whole; only places and sides of the crops travel. The project does
    not do this yet: the ratio says what it would gain.
    """
    size, batch = _size(machine), _batch(machine)
    count, workers = (16, 0) if machine.toy else (2048, 8)
    set_up(profile_runtime(machine.device))
    photographs = Photographs(count)
    on_host = Batches(photographs, Framing(size=size), schedule(batch, None), workers)
    # Larger than the caches of either side.
    store = torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), dtype=torch.uint8, device=machine.device)
    generator = torch.Generator().manual_seed(0)

    def from_device() -> None:
        for _ in range(count // batch):
            chosen = torch.randint(len(store), (batch,), generator=generator)
            sides = (torch.tensor([HEIGHT, WIDTH]) * (0.3 + 0.7 * torch.rand(batch, 2, generator=generator))).long()
            flipped = torch.rand(batch, generator=generator) < 0.5
            rows, sides, flipped = (sent(tensor, store.device) for tensor in (chosen, sides, flipped))
            Crops(store[rows], sides, flipped).resized(size)

    number = iter(range(10**6))

    def from_host() -> None:
        for _ in on_host.epoch("benchmark", next(number), device=machine.device):
            pass

    rounds = time_rounds({"host": from_host, "device": from_device}, 3, machine.device)
    images = count // batch * batch
    for name in ("host", "device"):
        rate = statistics.median(images / r[name] for r in rounds)
        yield Figure(f"store_on_{name}_images_per_second", rate, "img/s", "higher")
    yield ratio("store_on_device_over_host", [r["host"] / r["device"] for r in rounds], "higher", None)
    if not machine.toy:
        yield from benchmarks.loader.measure()


def timed(act: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
