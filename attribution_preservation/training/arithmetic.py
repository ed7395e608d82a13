"""How exactly a GPU multiplies float32 numbers."""

import torch


def allow_tf32(allowed: bool) -> None:
    """Let a GPU round the inputs of float32 products and convolutions to ten bits (TF32), or keep it from that.

    On an H100 its matrix units then do what is otherwise done without them, about eight times as fast. On other
    devices nothing changes.
    """
    # By the older names: who sets the newer ones, one operation at a time, makes every reader of the older ones fail.
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
