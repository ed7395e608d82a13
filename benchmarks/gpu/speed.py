"""How fast a GPU trains: the step over its floor, images per second and memory by setting, and the loader."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.device import sent
from attribution_preservation.pipeline.run.yaml_text import read_yaml
from attribution_preservation.pipeline.schema.base import validate
from attribution_preservation.pipeline.schema.data import Framing
from attribution_preservation.pipeline.schema.matching import Matching
from attribution_preservation.pipeline.schema.optimization import Augmentation
from attribution_preservation.pipeline.schema.runtime import Runtime
from attribution_preservation.training.augmentation import Crops
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime import set_up
from benchmarks.gpu.machine import Machine
from benchmarks.matching import SETTINGS, Setting, ratios, training_step
from benchmarks.photographs import HEIGHT, WIDTH, Photographs
from benchmarks.report import Figure
from benchmarks.rounds import ratio, time_rounds
from benchmarks.training import CLASSES, epochs, flop_per_image, matrix_rate, network, rates, schedule, voc_epoch

_PLAIN = Augmentation(crop_scale=None, flip=0.0)
# What differs from the profile's own settings, by name.
VARIANTS = {
    "as_voc2012": {},
    "float32": {"precision": "32-true"},
    "tf32": {"precision": "tf32"},
    "not_deterministic": {"deterministic": False},
    "compiled": {"compile": True},
}
_SWA = Matching(maps="swa", strength=50.0)


def profile_runtime(device: str) -> Runtime:
    """Section `runtime` of voc2012, on a device; on a CPU with one thread, which waits for no other."""
    section = read_yaml(Path("params/voc2012.yaml"))["runtime"] | {"device": device}
    return validate(Runtime, section | ({"cpu_threads": 1} if device == "cpu" else {}))


def matching(machine: Machine) -> Iterator[Figure]:
    """The step over its floor, as `python -m benchmarks matching` measures it."""
    if machine.toy:
        for figure in ratios("vgg6_bn", Setting("digits", 5, 32, 4, 4), machine.device):
            yield replace(figure, target=None)  # four steps of a toy tell nothing
        return
    for architecture, setting in SETTINGS[machine.device].items():
        yield from ratios(architecture, setting, machine.device)


def training(machine: Machine) -> Iterator[Figure]:
    """Images per second, share of the device's matrix rate and memory of VGG16 and VGG16/8, by setting.

    Then an epoch of voc2012's pruning and the rates of its stages, both as the profile says, with its loader.
    """
    size, batch, steps = (32, 4, 2) if machine.toy else (227, 64, 20)
    divisors = (16,) if machine.toy else (1, 8)
    set_up(profile_runtime(machine.device))
    matrix = {
        precision: matrix_rate(machine.device, precision, 256 if machine.toy else 8192)
        for precision in ("32-true", "tf32", "bf16-mixed")
    }
    for precision, rate in matrix.items():
        yield Figure(f"{precision}_matrix_rate", rate / 1e12, "TFLOP/s", "higher")
    speeds = {}
    for divisor in divisors:
        for name, changes in VARIANTS.items():
            if machine.toy and "compile" in changes:
                continue
            chosen = profile_runtime(machine.device).model_copy(update=changes | {"workers": 0})
            asked = schedule(batch, steps * batch).model_copy(update={"augmentation": _PLAIN})
            torch.manual_seed(0)
            made = network(size, divisor), network(size, divisor)
            # Kept in memory: it is the step that is measured.
            images = Photographs(steps * batch, size, size)
            seconds, memory = epochs(CompressionObjective(*made, _SWA), images, size, asked, chosen)
            speeds[divisor, name] = speed = steps * batch / statistics.median(seconds[1:])
            what = f"vgg16_{divisor}_{name}"
            yield Figure(f"{what}_images_per_second", speed, "img/s", "higher")
            share = speed * flop_per_image(size, divisor) / matrix[chosen.precision]
            yield Figure(f"{what}_share_of_matrix_rate", share, "share", "higher")
            if memory is not None:
                yield Figure(f"{what}_memory", memory / 2**30, "GiB", "lower")
            if chosen.compile:
                yield Figure(f"{what}_warm_up", seconds[0] - min(seconds[1:]), "s", "lower")
    first = divisors[0]
    yield Figure("bf16_over_float32", speeds[first, "as_voc2012"] / speeds[first, "float32"], "ratio", "higher")
    yield _order_in_memory(machine, size, batch)
    if not machine.toy:
        yield voc_epoch()
        for name in ("voc2012", "digits"):
            yield from rates(machine.device, name)


def _order_in_memory(machine: Machine, size: int, batch: int) -> Figure:
    """How much longer a step takes where channels come first in memory."""
    runtime = profile_runtime(machine.device)
    processes = Processes(runtime, set_up(runtime).torch)
    divisor = 16 if machine.toy else 1
    steps = {}
    for name, order in (("last", torch.channels_last), ("first", torch.contiguous_format)):
        objective = CompressionObjective(network(size, divisor), network(size, divisor), _SWA)
        objective.to(machine.device, memory_format=order)
        images = torch.randn(batch, 3, size, size, device=machine.device).contiguous(memory_format=order)
        labels = torch.rand(batch, CLASSES, device=machine.device).round()
        steps[name] = training_step(objective, images, labels, processes)
    rounds = time_rounds(steps, 4 if machine.toy else 20, machine.device)
    return ratio("channels_first_over_channels_last", [r["first"] / r["last"] for r in rounds], "higher", None)


def loader(machine: Machine) -> Iterator[Figure]:
    """Batches from the host's store, by as many workers as voc2012 asks for, beside those cut on the device.

    On the device the store of photographs lies there whole; only places and sides of the crops travel. The project does
    not do this yet: the ratio says what it would gain.
    """
    size, batch, count, workers = (32, 4, 16, 0) if machine.toy else (227, 64, 2048, 8)
    photographs = Photographs(count)
    on_host = Batches(photographs, Framing(size=size), schedule(batch, None), workers)
    store = torch.stack([torch.from_numpy(photographs.image(k)) for k in range(min(count, 64))]).to(machine.device)
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


def timed(act: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
