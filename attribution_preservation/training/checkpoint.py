"""The state of a run between two epochs, in one safetensors file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attribution_preservation.storage.tensors import read_tensors, write_tensors


@dataclass
class Checkpoint:
    """The state from which a run resumes exactly. Seeds are derived, so it has no state of a random generator.

    Attributes:
        phase: number of the phase (the pruning iteration; 0 for a teacher).
        epoch: number of finished epochs of that phase.
        log: one entry per finished epoch, over all phases.
        tensors: tensors by group (`network`, `momentum`, `masks`) and name.
    """

    phase: int
    epoch: int
    log: list[dict[str, Any]]
    tensors: dict[str, dict[str, torch.Tensor]]


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write atomically: after a crash the file has either the old or the new content."""
    flat = {
        f"{group}/{name}": tensor for group, tensors in checkpoint.tensors.items() for name, tensor in tensors.items()
    }
    position = {"phase": checkpoint.phase, "epoch": checkpoint.epoch, "log": checkpoint.log}
    write_tensors(path, flat, position)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if the file does not exist.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    flat, position = read_tensors(path, "delete it to begin this run again")
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        group, _, name = key.partition("/")
        tensors.setdefault(group, {})[name] = tensor
    return Checkpoint(position["phase"], position["epoch"], position["log"], tensors)
