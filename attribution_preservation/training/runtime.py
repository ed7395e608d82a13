"""Device and arithmetic of a stage, set up from the section `runtime`."""

import importlib.metadata
import os
import re
from dataclasses import dataclass

import torch
from joblib import cpu_count

from attribution_preservation.errors import UserError
from attribution_preservation.process.environment import fabric_version
from attribution_preservation.training.arithmetic import allow_tf32
from attribution_preservation.training.runtime_settings import Runtime

_LIBRARIES = ("torch", "torchvision", "numpy")


@dataclass(frozen=True)
class Device:
    """The device of a stage.

    Attributes:
        torch: the device.
        versions: names and versions that floating-point results depend on.
        jobs: number of processes that may work for one stage at once.
    """

    torch: torch.device
    versions: dict[str, str]
    jobs: int


def set_up(runtime: Runtime) -> Device:
    """Choose the device and set what results depend on: threads and deterministic kernels.

    Raises:
        UserError: the requested device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = runtime.device
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available[name]:
        why = f" ({_why_no_gpu()})" if name == "cuda" else ""
        raise UserError(f"runtime.device: {name} was asked for, but torch sees none here{why}; use auto or cpu")
    torch.set_num_threads(runtime.cpu_threads)
    if name == "cuda":
        # cuBLAS is deterministic only with a fixed workspace, which this variable sets.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if runtime.compile:
        torch.use_deterministic_algorithms(runtime.deterministic)
    else:  # for the kernels alone: to set the compiler's mode as well would import it, in two seconds
        torch.set_deterministic_debug_mode("error" if runtime.deterministic else "default")
    # Deterministic mode also fills every new tensor with NaN, to expose reads of unwritten memory. That takes a tenth
    # of a training step here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not runtime.deterministic
    allow_tf32(False)  # by default a GPU's convolutions round their inputs to ten bits
    kind = torch.cuda.get_device_name() if name == "cuda" else name
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES} | {"lightning-fabric": fabric_version()}
    # More than one job only if `each` may fork this process.
    copied = name == "cpu" and runtime.cpu_threads == 1 and runtime.devices * runtime.nodes == 1
    jobs = (runtime.jobs or cpu_count()) if copied else 1
    return Device(torch.device(name), {**libraries, "device": kind}, jobs)


def _why_no_gpu() -> str:
    """The first sentence of torch's message, which says that the driver is missing or too old."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return re.split(r"\.\s", str(error).strip(), maxsplit=1)[0].rstrip(".")
    return "it counts no GPU; see CUDA_VISIBLE_DEVICES"
