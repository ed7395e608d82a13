"""Real training: an epoch of voc2012's pruning on real photographs, then the smoke profile's stages without DVC."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from attribution_preservation.compression.objective import CompressionObjective
from attribution_preservation.data.archive import unpack
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory, find_voc_root
from attribution_preservation.errors import UserError
from attribution_preservation.models.build import build
from attribution_preservation.pipeline.run.graph import command_of
from attribution_preservation.storage.yaml_text import format_yaml, read_yaml
from benchmarks.gpu.machine import Machine
from benchmarks.gpu.speed import _SWA, profile_runtime, timed
from benchmarks.measurement import Figure
from benchmarks.training import epochs, schedule

# Those that compute; the tables need DVC's record.
STAGES = (
    "code",
    "check", "dataset", "teacher", "prune_weights", "prune_channels", "distill", "scratch", "attribute", "evaluate",
    "probe", "roar",
)  # fmt: skip
_TOY = {"train_images": 32, "evaluation_images": 16}


def figures(machine: Machine) -> Iterator[Figure]:
    """Seconds of the epoch; then of every stage, imports and all."""
    if machine.voc is not None:
        yield from _photographs(machine, machine.voc)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        for name in ("stages", "attribution_preservation", "params"):
            shutil.copytree(name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile("dvc.yaml", root / "dvc.yaml")
        (root / "live").mkdir()
        values = read_yaml(Path("params/smoke.yaml"))
        values["runtime"]["device"] = machine.device
        if machine.toy:
            values["data"]["digits"] |= _TOY
        (root / "params.yaml").write_text(format_yaml(values), encoding="utf-8")
        for name in STAGES[:3] if machine.toy else STAGES:
            yield Figure(f"smoke_{name}", timed(lambda name=name: _run(root, name, machine.out)), "s", "lower")


def _run(root: Path, name: str, out: Path) -> None:
    command = [sys.executable, "-m", *command_of(name), "--debug"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        path = out / f"stage-{name}.txt"
        path.write_text(done.stdout + done.stderr, encoding="utf-8")
        raise UserError(f"stage {name} failed: {(done.stderr.splitlines() or ['without a word'])[-1]}; see {path}")


def _pack(voc: Path, folder: Path) -> None:
    """Decode a VOC folder or archive into FOLDER/store."""
    root, store = voc, folder / "store"
    if not voc.is_dir():
        root = folder / "unpacked"
        root.mkdir()
        unpack(voc, root)
    store.mkdir()
    pack(VOCDirectory(find_voc_root(root), VOC_CLASSES), store)


def _photographs(machine: Machine, voc: Path) -> Iterator[Figure]:
    """One epoch of SWA under voc2012's settings, after one that warms up; from weights drawn at random."""
    size, batch, divisor = (32, 4, 16) if machine.toy else (227, 64, 1)
    with tempfile.TemporaryDirectory() as folder:
        yield Figure("voc_packed", timed(lambda: _pack(voc, Path(folder))), "s", "lower")
        store = Store(Path(folder) / "store")
        torch.manual_seed(0)
        made = [build("vgg16_bn", divisor, classes=len(VOC_CLASSES), input_size=size, dropout=0.5) for _ in range(2)]
        images = min(len(store.part("train")) // batch * batch, 2 * batch if machine.toy else 10**6)
        chosen = profile_runtime(machine.device)
        if machine.toy:
            chosen = chosen.model_copy(update={"workers": 0})
        objective = CompressionObjective(made[0], made[1], _SWA)
        seconds, memory = epochs(objective, store, size, schedule(batch, images), chosen, repeats=1)
        yield Figure("photographs_epoch", seconds[-1], "s", "lower")
        yield Figure("photographs_images_per_second", images / seconds[-1], "img/s", "higher")
        if memory is not None:
            yield Figure("photographs_memory", memory / 2**30, "GiB", "lower")
