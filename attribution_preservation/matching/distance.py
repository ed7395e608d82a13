"""Distance between a student's map and its teacher's map: the matching loss."""

import torch

from attribution_preservation.errors import UserError
from attribution_preservation.models.precision import at_least_float32


def map_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over the cells of a map of (Ms / |Ms|_2 - Mt / |Mt|_2)^2, each map normalised by itself.

    A map that is zero everywhere stays zero and passes no gradient. Maps of different sizes raise an error: pooling one
    of them would match a different map from the one that is explained.

    Args:
        student, teacher: maps [B, h, w]; the teacher's is a constant.

    Returns:
        [B], each between 0 and 2 / (h w) for maps without negative values.

    Raises:
        UserError: the maps differ in size.

    Source: Park et al. 2020, the loss of attribution matching; Zagoruyko and Komodakis 2017, equation 2.
    """
    if student.shape != teacher.shape:
        sizes = [" x ".join(map(str, maps.shape[1:])) for maps in (student, teacher)]
        raise UserError(f"matching: the student's map is {sizes[0]}, the teacher's {sizes[1]}; choose other layers")
    return (_normalized(student) - _normalized(teacher.detach())).square().mean(1)


def _normalized(maps: torch.Tensor) -> torch.Tensor:
    flat = at_least_float32(maps).flatten(1)
    squared = flat.square().sum(1, keepdim=True)
    zero = squared == 0
    return flat / squared.masked_fill(zero, 1).sqrt() * ~zero
