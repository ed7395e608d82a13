"""Precision of float32 products on a GPU."""

import torch


def allow_tf32(allowed: bool) -> None:
    """Allow or forbid that a GPU rounds the inputs of float32 products and convolutions to ten bits (TF32).

    With TF32 an H100 uses its matrix units for them, which is about eight times as fast. Devices other than GPUs are
    not affected.
    """
    # Uses torch's older names. If the newer names (one per operation) are set, reading an older name raises an error.
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
