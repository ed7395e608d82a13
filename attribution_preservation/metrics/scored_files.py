"""The file of one network's scores of each pair, from which the stage `analysis` tests networks against each other."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from attribution_preservation.metrics.scoring import Scored
from attribution_preservation.storage.identity import Identity
from attribution_preservation.storage.tensors import read_arrays, write_tensors


def write_scored(path: Path, identity: Identity, scored: Scored) -> None:
    """Write the scores of one network."""
    # Copies: two names for one array, as several methods explain the same pairs, are not for safetensors.
    arrays = {name: torch.tensor(values) for name, values in _arrays(scored)}
    write_tensors(path, arrays, {"identity": identity.as_dict()})


def read_scored(path: Path, remedy: str) -> Scored:
    """Read what `write_scored` wrote.

    Raises:
        UserError: the file is missing, damaged, or not written by this project; the message ends with `remedy`.
    """
    return _of_arrays(read_arrays(path, remedy)[0])


def _arrays(scored: Scored) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays with their names; `_of_arrays` is the inverse."""
    yield "logits", scored.logits
    for metric, values in scored.images.items():
        yield f"image/{metric}", values
    for attribution, pairs in scored.explained.items():
        yield f"explained/{attribution}", pairs
    for population, member in scored.populations.items():
        yield f"population/{population}", member
    for attribution, scores in scored.scores.items():
        for metric, values in scores.items():
            yield f"score/{attribution}/{metric}", values


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> Scored:
    # A metric's name may contain a slash: `ap_lost@background/16`.
    parts = [(*name.partition("/")[::2], values) for name, values in arrays.items()]
    explained = {name: values for kind, name, values in parts if kind == "explained"}
    scores: dict[str, dict[str, np.ndarray]] = {attribution: {} for attribution in explained}
    for kind, name, values in parts:
        if kind == "score":
            attribution, _, metric = name.partition("/")
            scores[attribution][metric] = values
    populations = {name: values for kind, name, values in parts if kind == "population"}
    images = {name: values for kind, name, values in parts if kind == "image"}
    return Scored(arrays["logits"], images, explained, scores, populations)
