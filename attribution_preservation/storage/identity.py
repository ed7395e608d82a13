"""Identity of the network in a file, and the file's name. Every file of a network or of maps has it in its metadata."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
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
        student: name of the student in that stage; empty for a teacher.
        method: matching method; empty for a teacher, and for a network that is trained without one.
        iteration: pruning iteration from 1; 0 without iterative pruning.
        epoch: epochs of training since the student was created or last pruned, if several epochs are saved; else None.
        teacher: name of the teacher that it was made from, or is compared with; for a teacher its own name.
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
        """Its position among the networks of its run, in the order of training."""
        return self.iteration, self.epoch or 0

    @property
    def full_network(self) -> tuple[str, int]:
        """Name and seed of its teacher; for a teacher its own name and seed."""
        return self.teacher, self.seed

    @property
    def level(self) -> dict[str, Any]:
        """Properties, by column of results.csv, that are equal for networks which differ only in seed and method."""
        return {
            "compression": self.compression,
            "teacher": self.teacher,
            "student": self.student,
            "iteration": self.iteration or None,
            "epoch": self.epoch,
        }

    def as_dict(self) -> dict[str, Any]:
        """A mapping, as files store it; `identity_of` is the inverse."""
        return asdict(self)


def masks_beside(path: Path) -> Path:
    """File of a network's weight masks, next to the network's file: by layer, True for each remaining weight."""
    return path.with_name(path.name.removesuffix(_SUFFIX) + _MASKS)


def seed_folder(seed: int) -> str:
    """Name of the folder of one seed's run."""
    return f"seed-{seed}"


def network_files(folder: Path) -> Iterator[Path]:
    """The network or map files below a folder, in an order that does not depend on the file system."""
    files = (path for path in folder.rglob(f"*{_SUFFIX}") if not path.name.endswith(_MASKS))
    yield from sorted(path for path in files if not path.name.startswith("."))


def identity_of(description: Mapping[str, Any], path: Path, remedy: str) -> Identity:
    """The identity in a file's description.

    Raises:
        UserError: the description has no identity, or an invalid one.
    """
    fields = description["identity"]
    try:
        identity = Identity(**fields)
    except TypeError:
        raise UserError(f"{path} does not say which network it is of; {remedy}") from None
    words = (identity.compression, identity.student, identity.method, identity.teacher)
    numbers = (identity.seed, identity.iteration, identity.epoch or 0)
    if not all(isinstance(word, str) for word in words) or not all(type(number) is int for number in numbers):
        raise UserError(f"{path} does not say which network it is of; {remedy}")
    return identity


def networks_below(folder: Path, remedy: str) -> dict[Identity, Path]:
    """Identity and file of every network, or of every network's maps, below a folder, in the order of the files.

    Args:
        folder: the folder.
        remedy: advice to the user in the error message if a file is damaged.

    Raises:
        UserError: a file is damaged, or two files are of the same network.
    """
    networks: dict[Identity, Path] = {}
    for path in network_files(folder):
        identity = identity_of(read_description(path, remedy), path, remedy)
        if identity in networks:
            raise UserError(f"{path} and {networks[identity]} are of the same network; {remedy}")
        networks[identity] = path
    return networks


def by_level(networks: Iterable[Identity]) -> Iterator[tuple[dict[str, Any], list[Identity]]]:
    """Levels of networks, with the networks of one teacher and seed that differ only in the method, in the given order.

    Levels are sorted by teacher, seed, compression, student and step.
    """

    def order(identity: Identity) -> tuple[Any, ...]:
        return (*identity.full_network, identity.compression, identity.student, identity.step)

    ordered = sorted(networks, key=order)
    for (_, level), members in groupby(ordered, key=lambda identity: (identity.full_network, identity.level)):
        yield level, list(members)
