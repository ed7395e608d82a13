"""Copies of tensors to a device, without waiting for the copy."""

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor to a device.

    A GPU copies from pinned memory asynchronously, after its current computation. From other memory it copies while the
    CPU waits, in every training step. torch keeps the pinned memory until the copy is done, and reuses it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
