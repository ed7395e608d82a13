"""Gain of compression in deployment: latency of one image on one CPU thread, by ONNX Runtime.

Every exported network carries its Grad-CAM maps as a second output, and is compared with the network that it came
from. The networks are those of a finished run (`dvc repro`), first seed, last iteration.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch

from attribution_preservation.attribution.grad_cam import grad_cam
from attribution_preservation.deployment.export import export_onnx
from attribution_preservation.errors import UserError
from attribution_preservation.models.network import Network
from attribution_preservation.models.network_files import load_network
from attribution_preservation.storage.identity import Identity, network_files
from attribution_preservation.storage.tensors import read_description
from benchmarks.measurement import Figure

_REPEATS = 200
_TOLERANCE = 1e-4  # of the largest value, in float32


def measure() -> list[Figure]:
    """Export, check and time one network of every kind."""
    networks = one_of_every_kind(Path("models"))
    if not networks:
        raise UserError("models holds no network; run dvc repro first")
    figures, sessions, sizes = [], {}, {}
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, (network, _) in networks.items():
            path = Path(folder) / f"{name}.onnx"
            export_onnx(network, path)
            session = _session(path)
            images = torch.randn(4, 3, network.input_size, network.input_size, generator=generator)
            logits, maps = _errors(network, session, images)
            figures.append(Figure(f"{name}_logits_error", logits, "share of the largest", "lower", _TOLERANCE))
            figures.append(Figure(f"{name}_maps_error", maps, "share of the largest", "lower", _TOLERANCE))
            sessions[name], sizes[name] = (session, images[:1].numpy()), path.stat().st_size
    times = _times(sessions)
    for name, latencies in times.items():
        quartiles = statistics.quantiles(latencies, n=4)
        figures.append(
            Figure(
                f"{name}_latency", 1e3 * statistics.median(latencies), "ms", "lower", None,
                (1e3 * quartiles[0], 1e3 * quartiles[2]),
            )
        )  # fmt: skip
        ratio = statistics.median(a / b for a, b in zip(latencies, times[networks[name].teacher], strict=True))
        figures.append(Figure(f"{name}_latency_over_teacher", ratio, "ratio", "lower"))
        figures.append(Figure(f"{name}_onnx_size", sizes[name] / 1e3, "kB", "lower"))
    return figures


class Deployed(NamedTuple):
    """A network, and which of all it is compared with: the key of its teacher."""

    network: Network
    teacher: str


def one_of_every_kind(models: Path) -> dict[str, Deployed]:
    """By compression and student, the network of the first seed and method at its last iteration."""
    chosen: dict[str, tuple[tuple[int, int], Path, str]] = {}
    for path in network_files(models):
        identity = Identity(**read_description(path, "run dvc repro first")["identity"])
        teacher = f"teacher_{identity.teacher}".strip("_")
        name = teacher if identity.compression == "teacher" else f"{identity.compression}_{identity.student}"
        key = (identity.iteration, -identity.seed)
        if name not in chosen or key > chosen[name][0]:
            chosen[name] = key, path, teacher
    return {name: Deployed(load_network(path)[0], teacher) for name, (_, path, teacher) in chosen.items()}


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _errors(network: Network, session: onnxruntime.InferenceSession, images: torch.Tensor) -> tuple[float, float]:
    """Largest difference of the logits, and of the top class's maps, as a share of the largest value."""
    logits, maps = session.run(["logits", "grad_cam"], {"images": images.numpy()})
    with torch.no_grad():
        expected = network(images)
    classes = expected.argmax(1)
    explained = grad_cam(network, images, classes).numpy()
    exported = maps[np.arange(len(images)), classes.numpy()]
    return (
        float(np.abs(logits - expected.numpy()).max() / np.abs(expected.numpy()).max()),
        float(np.abs(exported - explained).max() / explained.max()),
    )


def _times(sessions: dict[str, tuple[onnxruntime.InferenceSession, np.ndarray]]) -> dict[str, list[float]]:
    """Seconds per image of each network, round by round, so that the machine's moods hit all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(_REPEATS + 10):
        for name, (session, image) in sessions.items():
            start = time.perf_counter()
            session.run(None, {"images": image})
            if turn >= 10:
                times[name].append(time.perf_counter() - start)
    return times
