"""With what a stage computed: what numbers depend on beside parameters, code and data, and neither time nor host."""

import importlib.metadata
import platform
import sys
from typing import Any

# Names of import and of distribution.
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "lightning_fabric": "lightning-fabric",
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


def environment() -> dict[str, Any]:
    """Python, the libraries that this process has imported, the device that it computed on, and its CUDA.

    A CPU is told by its instruction set, which decides the last bits of sums.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for key, name in LIBRARIES.items() if key in sys.modules},
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
