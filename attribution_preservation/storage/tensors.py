"""Tensors on disk: safetensors, written atomically, never a pickle."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from attribution_preservation.errors import UserError
from attribution_preservation.storage.files import atomic_file

_KEY = "content"  # a single key, because safetensors writes several keys in any order


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and their description, as JSON. Equal contents give equal bytes.

    Raises:
        OSError: writing failed. (safetensors' own file writer would raise its own exception for a full disk.)
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        partial.write_bytes(save(stored, {_KEY: json.dumps(dict(description))}))


class Content(dict[str, Any]):
    """Contents of a file by name; a missing name raises `UserError`.

    Args:
        values: values by name.
        path, remedy: the file, and advice to the user, for the error message.
    """

    def __init__(self, values: Mapping[str, Any], path: Path, remedy: str) -> None:
        super().__init__(values)
        self._path, self._remedy = path, remedy

    def __missing__(self, name: str) -> Any:
        raise UserError(f"{self._path} holds no {name}; {self._remedy}")


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors, on the CPU, and their description, both as `Content`.

    Args:
        path: the file.
        remedy: advice to the user in the error message if the file is missing or damaged.

    Raises:
        UserError: the file is missing, damaged, or not written by this project.
    """
    with _opened(path, remedy) as stored:
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
        return Content(tensors, path, remedy), _description(path, stored, remedy)


def read_arrays(path: Path, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """As `read_tensors`, in NumPy."""
    tensors, description = read_tensors(path, remedy)
    try:
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    except TypeError as error:  # NumPy lacks some of torch's types
        raise UserError(f"{path} was not written by this project ({error}); {remedy}") from None
    return Content(arrays, path, remedy), description


def read_description(path: Path, remedy: str) -> dict[str, Any]:
    """Read only the description, not the tensors; otherwise the same as `read_tensors`."""
    with _opened(path, remedy) as stored:
        return _description(path, stored, remedy)


def _description(path: Path, stored: Any, remedy: str) -> dict[str, Any]:
    try:
        return Content(json.loads((stored.metadata() or {})[_KEY]), path, remedy)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise UserError(f"{path} was not written by this project; {remedy}") from None


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator[Any]:
    # safetensors opens files outside Python. This event reports the file to audit hooks.
    sys.audit("open", str(path), "r", 0)
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {remedy}") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None
