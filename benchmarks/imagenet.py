"""What ImageNet's two tables cost: SWA's step, a forward pass, memory, and the decoding of photographs.

The networks of the profile imagenet, with random weights, at their size, set up as its stages are. On a CPU in float32
with few images, which do not change the rate: what is measured is operations per second. Memory is that of a process
with two batches, apart by the images of one; the rest is fixed.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.manifest import Manifest, Place
from attribution_preservation.data.scenes import Canvas
from attribution_preservation.matching.loss import settings_of
from attribution_preservation.pipeline.profile import Profile
from attribution_preservation.settings import validate
from attribution_preservation.storage.yaml_text import read_yaml
from attribution_preservation.training.batches import Originals, collate
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime
from benchmarks.cost import TABLES
from benchmarks.measurement import Figure
from benchmarks.workload import STUDENT, TEACHER, Step, steps

BATCHES = {"cpu": (8, 24), "cuda": (32, 64)}
_REPEATS = 2
# Heights and widths of photographs, and how many: an assumption. Most of ImageNet's have a longer side of 500 pixels or
# less, a few of thousands.
_SIZES = {(375, 500): 20, (500, 375): 9, (333, 500): 9, (300, 400): 9, (1500, 2000): 1}


def measure() -> list[Figure]:
    """Each table's step and forward pass, and the decoding that both need."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    profile = validate(Profile, read_yaml(Path("params/imagenet.yaml")))
    figures, context = [], multiprocessing.get_context("spawn")
    for stage, step in steps(profile, "imagenet").items():
        if stage not in TABLES:
            continue
        runs = []
        for batch in BATCHES[device]:
            # A process of its own for each: its memory is the most that it ever had.
            with context.Pool(1) as pool:
                runs.append(pool.apply(_run, (step, batch, device, profile.runtime)))
        of_teacher = replace(step, rates={}).operations
        operations = STUDENT * step.operations + TEACHER * of_teacher
        fastest = max(batch / run["step"] for batch, run in zip(BATCHES[device], runs, strict=True))
        figures.append(Figure(f"{stage}_images_per_second", fastest, "img/s", "higher"))
        figures.append(Figure(f"{stage}_rate", fastest * operations / 1e9, "GFLOP/s", "higher"))
        forward = max(batch / run["forward"] for batch, run in zip(BATCHES[device], runs, strict=True))
        figures.append(Figure(f"{stage}_forward_rate", forward * of_teacher / 1e9, "GFLOP/s", "higher"))
        few, many = BATCHES[device]
        each = (runs[1]["memory"] - runs[0]["memory"]) / (many - few)
        figures.append(Figure(f"{stage}_memory_per_image", each / 1e9, "GB", "lower"))
        figures.append(Figure(f"{stage}_memory_fixed", (runs[0]["memory"] - few * each) / 1e9, "GB", "lower"))
    return [*figures, Figure("decode_rate", decode_rate(profile), "img/s", "higher")]


def _run(step: Step, batch: int, device: str, runtime: Runtime) -> dict[str, float]:
    """Seconds of one step and of one forward pass, and bytes of memory at the most."""
    set_up(runtime.model_copy(update={"device": device}))
    torch.manual_seed(0)
    student, teacher = step.network(), replace(step, rates={}).network()
    objective = CompressionObjective(student, teacher, settings_of("swa", strength=50.0))
    objective = objective.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3, momentum=0.9)
    images = torch.randint(0, 256, (batch, 3, step.size, step.size), dtype=torch.uint8, device=device)
    labels, normalize = torch.randint(0, step.classes, (batch,), device=device), Normalize([0.45] * 3, [0.23] * 3)
    kind = torch.bfloat16 if device == "cuda" else torch.float32

    def train() -> None:
        with torch.autocast(device, kind, enabled=device == "cuda"):
            loss = objective(normalize(images), labels)["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def predict() -> None:
        with torch.no_grad():
            teacher(normalize(images))

    measured = {"step": _seconds(train, device), "forward": _seconds(predict, device)}
    if device == "cuda":
        return measured | {"memory": float(torch.cuda.max_memory_allocated())}
    unit = 1 if sys.platform == "darwin" else 1024
    return measured | {"memory": float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)}


def _seconds(work: Callable[[], None], device: str) -> float:
    seconds = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def decode_rate(profile: Profile) -> float:
    """Photographs per second of one process: read, decoded, cropped at random and put into a batch."""
    augmentation = profile.prune_weights.optimization.augmentation
    wnid, sizes = "n01440764", [size for size, count in _SIZES.items() for _ in range(count)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "train" / wnid).mkdir(parents=True)
        places = []
        for number, (height, width) in enumerate(sizes):
            canvas = Canvas(height, width, np.random.default_rng(number))
            path = root / "train" / wnid / f"{number}.JPEG"
            _noisy(canvas.picture, number).save(path, quality=90)
            places.append(Place(path.name, path.stat().st_size))
        manifest = Manifest.of(name, None, (wnid,), {"train": {wnid: places}, "val": {}})
        originals = Originals(manifest, range(len(sizes)), profile.input, augmentation)
        start = time.perf_counter()
        for first in range(0, len(sizes), 16):
            collate([originals[("decode",), row] for row in range(first, first + 16)])
        return len(sizes) / (time.perf_counter() - start)


def _noisy(picture: Image.Image, seed: int) -> Image.Image:
    """With grain, as photographs have it: flat areas decode faster."""
    pixels = np.asarray(picture).astype(np.float32)
    pixels = pixels + np.random.default_rng(seed).normal(0, 8, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
