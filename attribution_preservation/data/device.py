"""From the CPU to where a network computes, without waiting for the copy."""

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on a device.

    A GPU copies by itself from pinned memory, behind what it is still computing; from other memory it copies while the
    CPU waits, in every step of a training. torch keeps pinned memory until the copy is done, and for the next one.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
