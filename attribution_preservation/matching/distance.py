"""How far a student's map is from its teacher's: the matching loss itself."""

import torch
import torch.nn.functional as F


def map_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over images and map cells of (Ms / |Ms|_2 - Mt / |Mt|_2)^2, each map normalised by itself.

    A map that is zero everywhere stays zero and passes no gradient.

    Args:
        student, teacher: maps [B, h, w]; the teacher's is a constant.

    Returns:
        A scalar between 0 and 2 / (h w) for maps without negative values.

    Source: Park et al. 2020, the loss of attribution matching; Zagoruyko and Komodakis 2017, equation 2.
    """
    normalized = F.normalize(student.flatten(1)), F.normalize(teacher.detach().flatten(1))
    return (normalized[0] - normalized[1]).square().mean()
