"""Losses are sums of small terms: they are computed in float32 also where networks run in bfloat16."""

import torch


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """The values in float32, or as they are where they are more precise than that."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
