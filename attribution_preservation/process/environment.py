"""Environment of a stage: libraries and device, on which numbers depend; without time and host."""

import contextlib
import importlib.metadata
import platform
import sys
from typing import Any

# Import names and distribution names.
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "captum": "captum",
    "PIL": "pillow",
    "h5py": "h5py",
    "jinja2": "jinja2",
    "vl_convert": "vl-convert-python",
}


def fabric_version() -> str:
    """Version of Lightning Fabric, which is a separate distribution or part of Lightning.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    for name in ("lightning-fabric", "pytorch-lightning"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return importlib.metadata.version("lightning")


def _libraries() -> dict[str, str]:
    """Versions of the imported libraries, by distribution."""
    versions = {name: importlib.metadata.version(name) for key, name in LIBRARIES.items() if key in sys.modules}
    return versions | ({"lightning-fabric": fabric_version()} if "lightning_fabric" in sys.modules else {})


def environment() -> dict[str, Any]:
    """Versions of Python, of the libraries that this process has imported and of CUDA, and the device that it used.

    A CPU is described by its instruction set, which determines the last bits of sums.
    """
    description: dict[str, Any] = {
        "python": platform.python_version(),
        "libraries": _libraries(),
        "device": f"{platform.machine()} CPU",
        "cuda": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        capability = torch.backends.cpu.get_cpu_capability()
        description["device"] = torch.cuda.get_device_name() if on_gpu else f"{description['device']}, {capability}"
        description["cuda"] = torch.version.cuda if on_gpu else None
    return description
