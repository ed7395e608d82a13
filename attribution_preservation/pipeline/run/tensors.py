"""Tensors on disk: safetensors, written atomically, never a pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

from attribution_preservation.pipeline.run.files import atomic_file


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts; the same ones give the same bytes.

    Raises:
        OSError: as any write. (safetensors' own file writer hides a full disk in an exception of its own.)
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        partial.write_bytes(save(stored, dict(metadata)))
