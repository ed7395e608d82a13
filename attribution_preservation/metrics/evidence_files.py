"""The file of one network's evidence, which the stage `attribute` writes."""

from pathlib import Path

import numpy as np

from attribution_preservation.data.inputs import Pairs
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.evidence import Evidence, Maps
from attribution_preservation.metrics.prediction import of_labels
from attribution_preservation.storage.tensors import read_arrays

REMEDY = "run the stage attribute first"


def read_evidence(path: Path, pairs: Pairs, labels: np.ndarray, of_teacher: np.ndarray | None = None) -> Evidence:
    """Read the maps, logits and sizes of one network from its file.

    Args:
        path: the file.
        pairs, labels: the scored pairs, and the labels of all evaluation images, which the file has to fit.
        of_teacher: logits of the network's teacher, [N, C]; None for a teacher's own file.

    Raises:
        UserError: the file is missing, damaged, of another data set, or explains other classes.
    """
    arrays, description = read_arrays(path, REMEDY)
    methods, sizes = description["methods"], description["sizes"]
    if not isinstance(methods, list) or not isinstance(sizes, dict):
        raise UserError(f"{path} does not say which methods and sizes it is of; {REMEDY}")
    every = np.arange(len(pairs))
    maps = {
        name: Maps(arrays[name], arrays.get(f"{name}.pairs", every), arrays.get(f"{name}.absorbed"))
        for name in map(str, methods)
    }
    of_pairs = all(len(of_method.values) == len(of_method.pairs) <= len(every) for of_method in maps.values())
    if not of_labels(arrays["logits"], labels) or not of_pairs:
        raise UserError(f"{path} is of another data set; {REMEDY}")
    if not all(
        np.isfinite(values).all() for values in (arrays["logits"], *(of_method.values for of_method in maps.values()))
    ):
        raise UserError(f"{path} holds what is infinite or no number; {REMEDY}")
    if pairs.label is None:
        # Both files may be whole and of one data set, and still be of two runs whose teachers saw other top classes.
        classes = pairs.classes(arrays["logits"] if of_teacher is None else of_teacher, arrays["logits"])
        if not np.array_equal(arrays.get("asked", []), classes):
            raise UserError(
                f"{path} explains other classes than its teacher's and its own top ones, as where the two were made on "
                "different machines; make both again (dvc repro -f attribute)"
            )
    figures = {name: value for name, value in sizes.items() if name != "sparsity"}
    return Evidence(maps, arrays["logits"], figures, sizes.get("sparsity"))
