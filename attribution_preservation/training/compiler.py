"""Check, before the first training step, that TorchInductor can compile here; a failure is reported in one line."""

import re
import time
from functools import cache

import torch

from attribution_preservation.errors import UserError

_LONGEST = 200  # letters of a compiler's own message
# Remedy by the class of TorchInductor's error. All other errors are failures of the compiler itself.
_REMEDIES = {
    "InvalidCxxCompiler": "install a C++ compiler (g++), or name one in CXX",
    "TritonMissing": "install triton",
    "GPUTooOldForTriton": "take a newer GPU",
}
_CACHE = "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written"
_COMPILER = "the compiler (g++, or the one in CXX) needs Python's headers and OpenMP"


@cache
def try_compiler(device: torch.device) -> None:
    """Compile a small function and its gradient, once in a process for each device.

    Raises:
        UserError: TorchInductor cannot compile here; the message says what is missing and how to fix it.
    """
    # A new number in each try: a cached compiled function would hide that no other function can be compiled.
    number = float(time.time_ns() % 2**30)
    values = torch.ones(8, device=device, requires_grad=True)
    try:
        compiled = torch.compile(lambda tensor: (tensor * number).relu(), dynamic=False)
        compiled(values).sum().backward()
    except Exception as error:
        raise cannot_compile(error) from None


def compiler_failed(error: BaseException) -> bool:
    """Whether TorchInductor, or code that it calls, raised the error."""
    # By name: torch imports these modules when it first compiles.
    modules = [kind.__module__ for kind in type(error).__mro__]
    return any(module.startswith(("torch._dynamo", "torch._inductor")) for module in modules)


def cannot_compile(error: BaseException) -> UserError:
    """The one-line error for such a failure."""
    cause = getattr(error, "inner_exception", None) or error
    words = str(cause).strip() or type(cause).__name__
    # Take the first error in the compiler's output, which begins with its command line.
    first_error = re.search(r"(?:fatal )?error: .+", words)
    words = (first_error[0] if first_error else words.splitlines()[0])[:_LONGEST]
    remedy = _CACHE if isinstance(cause, OSError) else _REMEDIES.get(type(cause).__name__, _COMPILER)
    return UserError(
        f"runtime.compile: TorchInductor cannot compile here ({words}); {remedy}, or set runtime.compile to false"
    )
