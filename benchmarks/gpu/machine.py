"""Where the steps run: the GPU, or a CPU at toy size, and for how long."""

import contextlib
import re
import signal
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from attribution_preservation.errors import UserError


class TimeIsUp(BaseException):
    """The minutes that were given are over. (No `Exception`: libraries turn those into others.)"""


@dataclass(frozen=True)
class Machine:
    """The machine, shared by all steps.

    Attributes:
        device: cuda, or cpu where torch sees no GPU; there everything is of toy size.
        ends: when, by `time.monotonic`.
        out: the folder of the results.
        voc: a VOC folder or archive with real photographs; None where there is none.
    """

    device: str
    ends: float
    out: Path = Path()
    voc: Path | None = None

    @property
    def toy(self) -> bool:
        """Whether sizes are such as a CPU bears."""
        return self.device == "cpu"

    @property
    def name(self) -> str:
        """As results name it."""
        return "CPU, toy size" if self.toy else torch.cuda.get_device_name()

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()


def check_torch() -> None:
    """Refuse a torch that this project does not know.

    Raises:
        UserError: it is older than pyproject.toml asks for.
    """
    needed = next(
        line.partition(">=")[2]
        for line in tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
        if line.startswith("torch>=")
    )
    if _numbers(torch.__version__) < _numbers(needed):
        raise UserError(f"torch {torch.__version__} is here, and this project needs {needed}; install a newer one")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:2])


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUp` within the block when the time is over."""

    def stop(_number: int, _frame: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    # Again every other second: an exception within a destructor ends nothing.
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 2.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
