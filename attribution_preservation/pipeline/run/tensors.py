"""Tensors on disk: safetensors, written atomically, never a pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.files import atomic_file


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts; the same ones give the same bytes.

    Raises:
        OSError: as any write. (safetensors' own file writer hides a full disk in an exception of its own.)
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        partial.write_bytes(save(stored, dict(metadata)))


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote: tensors, on the CPU, and texts.

    Args:
        path: the file.
        remedy: what the user can do where it is missing or damaged, for the message.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
            return tensors, stored.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {remedy}") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None
