"""With what a stage computed: what numbers depend on beside parameters, code and data, and neither time nor host."""

import contextlib
import importlib.metadata
import platform
import sys
from typing import Any

# Names of import and of distribution.
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
    """Version of Lightning Fabric, which is a distribution of its own, or comes with the whole of Lightning.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    for name in ("lightning-fabric", "pytorch-lightning"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return importlib.metadata.version("lightning")


def _libraries() -> dict[str, str]:
    """Versions by distribution, of what has been imported."""
    found = {name: importlib.metadata.version(name) for key, name in LIBRARIES.items() if key in sys.modules}
    return found | ({"lightning-fabric": fabric_version()} if "lightning_fabric" in sys.modules else {})


def environment() -> dict[str, Any]:
    """Python, the libraries that this process has imported, the device that it computed on, and its CUDA.

    A CPU is told by its instruction set, which decides the last bits of sums.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "libraries": _libraries(),
        "device": f"{platform.machine()} CPU",
        "cuda": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        capability = torch.backends.cpu.get_cpu_capability()
        found["device"] = torch.cuda.get_device_name() if on_gpu else f"{found['device']}, {capability}"
        found["cuda"] = torch.version.cuda if on_gpu else None
    return found
