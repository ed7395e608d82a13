"""Which network a file holds, and the file's name; every network and map file says it in its own metadata."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Identity:
    """Identity of one trained network.

    Attributes:
        compression: `teacher`, or the name of the stage that made it.
        seed: the run's seed.
        student: which small network of that stage; empty for a teacher.
        method: matching method; empty for a teacher, and where a network learns without one.
        iteration: pruning iteration from 1, or the epoch of a distilled student; 0 where there is but one network.
    """

    compression: str
    seed: int
    student: str = ""
    method: str = ""
    iteration: int = 0

    @property
    def file_name(self) -> str:
        """Name of its file in the run's folder."""
        if not self.iteration:
            return "network.safetensors"
        word = "epoch" if self.compression == "distill" else "iteration"
        return f"{word}-{self.iteration:02d}.safetensors"

    def as_dict(self) -> dict[str, Any]:
        """As files hold it; `Identity(**found)` is the way back."""
        return asdict(self)


def seed_folder(seed: int) -> str:
    """Name of the folder of one seed's run."""
    return f"seed-{seed}"


def network_files(folder: Path) -> Iterator[Path]:
    """The network or map files below a folder, in an order that does not depend on the file system."""
    yield from sorted(path for path in folder.rglob("*.safetensors") if not path.name.startswith("."))
