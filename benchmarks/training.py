"""The training step: images per second, share of the device's matrix rate, memory; by precision, batch and compilation.

The real loop trains VGG16 under SWA on photographs of random bytes, cropped and flipped as the profile voc2012 asks.
On a GPU at the published size, with an epoch of VOC's 5,717 images; on a CPU at one that it bears. And it trains what
each stage of each profile trains, as that profile says, in as many processes: the rates that docs/cost.md counts with.
"""

import resource
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from joblib import cpu_count

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.store import Images
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.metrics.size import multiply_accumulates
from attribution_preservation.models.build import build
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.optimization import Optimization
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.process.jobs import each
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.arithmetic import allow_tf32
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime
from benchmarks.measurement import Figure
from benchmarks.photographs import HEIGHT, WIDTH, Photographs
from benchmarks.workload import SETS, STUDENT, Step, steps

CLASSES, EPOCH = 20, 5717
TARGET = 5.0  # seconds for an epoch of VOC on one H100
PRECISIONS = ("32-true", "bf16-mixed")
# Nobody runs the published study on a CPU.
PROFILES = {"cpu": ("digits", "voc_subset"), "cuda": ("digits", "voc_subset", "voc2012")}
_REPEATS = 3
_STEPS = 20


@dataclass(frozen=True)
class Setting:
    """What is measured on one kind of device.

    Attributes:
        size: side of the network's input.
        batches: batch sizes.
        images: of an epoch.
        compiled: whether to compile, in turn.
        matrix: side of the matrices whose product gives the device's rate.
    """

    size: int
    batches: tuple[int, ...]
    images: int
    compiled: tuple[bool, ...]
    matrix: int


SETTINGS = {
    "cpu": Setting(96, (8, 16), 32, (False, True), 2048),
    "cuda": Setting(227, (32, 64, 128), EPOCH, (False, True), 8192),
}


def measure() -> list[Figure]:
    """Every precision with every batch; the epoch of the fastest is compared with its target."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # First, while this process has used one thread: it is copied.
    figures = [figure for name in PROFILES[device] for figure in rates(device, name)]
    setting, fastest = SETTINGS[device], {}
    for precision in PRECISIONS:
        rate = matrix_rate(device, precision, setting.matrix)
        figures.append(Figure(f"{precision}_matrix_rate", rate / 1e12, "TFLOP/s", "higher"))
        for batch in setting.batches:
            for compiled in setting.compiled:
                name = f"{precision}_batch_{batch}{'_compiled' if compiled else ''}"
                chosen = runtime(device, precision, compiled, workers=8 if device == "cuda" else 0)
                torch.manual_seed(0)
                pair = network(setting.size), network(setting.size)
                objective = CompressionObjective(*pair, settings_of("swa", strength=50.0))
                optimization, images = schedule(batch, setting.images), Photographs(setting.images)
                (first, *others), memory = epochs(objective, images, setting.size, optimization, chosen)
                speeds = [setting.images // batch * batch / seconds for seconds in others]
                speed = statistics.median(speeds)
                spread = (min(speeds), max(speeds))
                figures.append(Figure(f"{name}_images_per_second", speed, "img/s", "higher", None, spread))
                share = speed * flop_per_image(setting.size) / rate
                figures.append(Figure(f"{name}_share_of_matrix_rate", share, "share", "higher"))
                if memory is not None:
                    figures.append(Figure(f"{name}_memory", memory / 2**30, "GiB", "lower"))
                if compiled:
                    figures.append(Figure(f"{name}_warm_up", first - min(others), "s", "lower"))
                fastest[precision] = max(fastest.get(precision, 0.0), speed)
    if device == "cpu":  # a process's peak is that of all that it has done
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        figures.append(Figure("peak_memory", peak / 2**30, "GiB", "lower"))
    figures.append(Figure("bf16_over_float32", fastest["bf16-mixed"] / fastest["32-true"], "ratio", "higher"))
    if device == "cuda":
        figures.append(voc_epoch())
    return figures


def voc_epoch() -> Figure:
    """Seconds of an SWA epoch of VGG16 over VOC's training images, as the profile voc2012 trains it on a GPU."""
    section = read_yaml(Path("params/voc2012.yaml"))
    size, runtime = section["input"]["size"], validate(Runtime, section["runtime"] | {"device": "cuda"})
    torch.manual_seed(0)
    objective = CompressionObjective(network(size), network(size), settings_of("swa", strength=50.0))
    optimization = schedule(section["prune_weights"]["optimization"]["batch_size"], None)
    # The second one: the first starts the workers and chooses kernels.
    (_, seconds), _ = epochs(objective, Photographs(EPOCH), size, optimization, runtime, repeats=1)
    return Figure("voc_epoch", seconds, "s", "lower", TARGET)


def rates(device: str, name: str) -> list[Figure]:
    """Floating-point operations per second of training in every stage of a profile."""
    profile = validate(Profile, read_yaml(Path(f"params/{name}.yaml")))
    chosen_device = set_up(profile.runtime.model_copy(update={"device": device}))
    figures = []
    for stage, step in steps(profile, name).items():
        speeds = each([partial(_speed, profile, name, step, device)] * chosen_device.jobs, chosen_device.jobs)
        rate = sum(speeds) * STUDENT * step.operations
        figures.append(Figure(f"{name}_{stage}_rate", rate / 1e9, "GFLOP/s", "higher"))
    return figures


def _speed(profile: Profile, name: str, step: Step, device: str) -> float:
    """Images per second of one process."""
    # The generated scenes are stored at the side that the networks see.
    side = (profile.input.size,) * 2 if profile.data.source == "digits" else (HEIGHT, WIDTH)
    optimization = step.optimization.model_copy(
        update={"epochs": 1, "images_per_epoch": _STEPS * step.optimization.batch_size}
    )
    images = Photographs(optimization.images_per_epoch, *side, classes=SETS[name][2])
    objective = TaskObjective(step.network())
    seconds, _ = epochs(
        objective, images, step.size, optimization, profile.runtime.model_copy(update={"device": device})
    )
    return optimization.images_per_epoch / statistics.median(seconds[1:])


def network(size: int, divisor: int = 1) -> Network:
    """VGG16 as for VOC, at another input size and width."""
    return build("vgg16_bn", divisor, classes=CLASSES, input_size=size, dropout=0.5)


def flop_per_image(size: int, divisor: int = 1) -> float:
    """Of one image's SWA step: the student forward and twice backward, the teacher forward."""
    return 4 * 2 * multiply_accumulates(network(size, divisor), torch.zeros(1, 3, size, size))


def matrix_rate(device: str, precision: str, side: int) -> float:
    """Floating-point operations per second of a product of large square matrices."""
    kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    speeds = []
    allow_tf32(precision == "tf32")
    for _ in range(_REPEATS + 2):
        _wait(device)
        start = time.perf_counter()
        left @ right
        _wait(device)
        speeds.append(2 * side**3 / (time.perf_counter() - start))
    allow_tf32(False)
    return statistics.median(speeds[2:])


def schedule(batch: int, images: int | None) -> Optimization:
    """The schedule of voc2012's pruning, for one epoch."""
    section = read_yaml(Path("params/voc2012.yaml"))["prune_weights"]["optimization"]
    return Optimization(**(section | {"epochs": 1, "batch_size": batch, "images_per_epoch": images}))


def runtime(device: str, precision: str = "32-true", compiled: bool = False, workers: int = 0) -> Runtime:
    """Section `runtime` of the default profile, with another precision."""
    section = read_yaml(Path("params/digits.yaml"))["runtime"]
    changed = {"device": device, "precision": precision, "compile": compiled, "workers": workers}
    changed |= {"cpu_threads": cpu_count(), "jobs": None}  # one process has the whole machine
    # Deterministic kernels are a choice about repeatability; what the hardware can do is measured without.
    return Runtime(**(section | changed | {"deterministic": device == "cpu"}))


def epochs(
    objective: CompressionObjective | TaskObjective,
    images: Images,
    size: int,
    optimization: Optimization,
    chosen: Runtime,
    repeats: int = _REPEATS,
) -> tuple[list[float], int | None]:
    """Seconds of every epoch, of which the first one warms up; and bytes of the GPU's memory at the most.

    Args:
        objective, images, optimization: what is trained, on what and how.
        size: side of the network's input.
        chosen: device, precision and workers.
        repeats: epochs after the first one.
    """
    device = chosen.device
    trainer = Trainer(
        objective,
        Batches(images, Framing(size=size), optimization, chosen.workers),
        Normalize([0.45] * 3, [0.23] * 3),
        key=(0, "benchmark"),
        mean_ap=mean_ap,
        processes=Processes(chosen, set_up(chosen).torch),
        compiled=chosen.compile,
        progress=Progress(0, "training", every=float("inf")),
        save=lambda checkpoint: None,
    )
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for phase in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        trainer.fit(optimization, phase=phase)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return seconds, torch.cuda.max_memory_allocated() if device == "cuda" else None


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
