"""Which network a file holds, and the file's name; every network and map file says it in its own metadata."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attribution_preservation.errors import UserError
from attribution_preservation.storage.tensors import read_description

_SUFFIX = ".safetensors"
_MASKS = f".masks{_SUFFIX}"


@dataclass(frozen=True)
class Identity:
    """Identity of one trained network.

    Attributes:
        compression: `teacher`, or the name of the stage that made it.
        seed: the run's seed.
        student: which small network of that stage; empty for a teacher.
        method: matching method; empty for a teacher, and where a network learns without one.
        iteration: pruning iteration from 1; 0 where nothing is pruned step by step.
        epoch: epochs of training since the student was made or last pruned, where several are kept; else None.
        teacher: name of the full network that it was made from, or is compared with; of a teacher its own.
    """

    compression: str
    seed: int
    student: str = ""
    method: str = ""
    iteration: int = 0
    epoch: int | None = None
    teacher: str = ""

    @property
    def file_name(self) -> str:
        """Name of its file in the run's folder."""
        parts = [f"iteration-{self.iteration:02d}"] if self.iteration else []
        parts += [f"epoch-{self.epoch:02d}"] if self.epoch is not None else []
        return f"{'-'.join(parts) or 'network'}{_SUFFIX}"

    @property
    def step(self) -> tuple[int, int]:
        """Its place among the networks of its run, in the order in which they were made."""
        return self.iteration, self.epoch or 0

    @property
    def full_network(self) -> tuple[str, int]:
        """Name and seed of its teacher; of a teacher its own."""
        return self.teacher, self.seed

    @property
    def level(self) -> dict[str, Any]:
        """What networks have in common that differ in nothing but seed and method, as results.csv names it."""
        return {
            "compression": self.compression,
            "teacher": self.teacher,
            "student": self.student,
            "iteration": self.iteration or None,
            "epoch": self.epoch,
        }

    def as_dict(self) -> dict[str, Any]:
        """As files hold it; `told_identity` is the way back."""
        return asdict(self)


def masks_beside(path: Path) -> Path:
    """File of the masks of a network's weights, next to the network's own: True where a weight is left, by layer."""
    return path.with_name(path.name.removesuffix(_SUFFIX) + _MASKS)


def seed_folder(seed: int) -> str:
    """Name of the folder of one seed's run."""
    return f"seed-{seed}"


def network_files(folder: Path) -> Iterator[Path]:
    """The network or map files below a folder, in an order that does not depend on the file system."""
    files = (path for path in folder.rglob(f"*{_SUFFIX}") if not path.name.endswith(_MASKS))
    yield from sorted(path for path in files if not path.name.startswith("."))


def told_identity(description: Mapping[str, Any], path: Path, remedy: str) -> Identity:
    """The identity that a file's description tells.

    Raises:
        UserError: it tells none, or one that no network has.
    """
    told = description["identity"]
    try:
        identity = Identity(**told)
    except TypeError:
        raise UserError(f"{path} does not say which network it is of; {remedy}") from None
    words = (identity.compression, identity.student, identity.method, identity.teacher)
    numbers = (identity.seed, identity.iteration, identity.epoch or 0)
    if not all(isinstance(word, str) for word in words) or not all(type(number) is int for number in numbers):
        raise UserError(f"{path} does not say which network it is of; {remedy}")
    return identity


def networks_below(folder: Path, remedy: str) -> dict[Identity, Path]:
    """Identity and file of every network, or of what was made of each, below a folder, in the order of the files.

    Args:
        folder: where they lie.
        remedy: what the user can do where a file is damaged, for the message.

    Raises:
        UserError: a file is damaged, or two are of one network.
    """
    found: dict[Identity, Path] = {}
    for path in network_files(folder):
        identity = told_identity(read_description(path, remedy), path, remedy)
        if identity in found:
            raise UserError(f"{path} and {found[identity]} are of the same network; {remedy}")
        found[identity] = path
    return found
