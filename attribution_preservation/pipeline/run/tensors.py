"""Tensors on disk: safetensors, written atomically, never a pickle."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from attribution_preservation.errors import UserError
from attribution_preservation.pipeline.run.files import atomic_file

_KEY = "content"  # safetensors writes several keys in any order; one alone always gives the same bytes


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and what is to be known about them, as JSON; the same ones give the same bytes.

    Raises:
        OSError: as any write. (safetensors' own file writer hides a full disk in an exception of its own.)
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        partial.write_bytes(save(stored, {_KEY: json.dumps(dict(description))}))


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors, on the CPU, and their description.

    Args:
        path: the file.
        remedy: what the user can do where it is missing or damaged, for the message.

    Raises:
        UserError: it is missing, damaged or was written by something else.
    """
    with _opened(path, remedy) as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
        return tensors, _description(path, stored, remedy)


def read_description(path: Path, remedy: str) -> dict[str, Any]:
    """The description alone, without reading the tensors; as `read_tensors` otherwise."""
    with _opened(path, remedy) as stored:
        return _description(path, stored, remedy)


def _description(path: Path, stored: Any, remedy: str) -> dict[str, Any]:
    try:
        return dict(json.loads((stored.metadata() or {})[_KEY]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} was not written by this project; {remedy}") from None


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {remedy}") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None
