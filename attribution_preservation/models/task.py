"""The task that networks are trained for, as the labels tell it: classes that exclude each other, or do not."""

import torch
import torch.nn.functional as F
from torch import nn

from attribution_preservation.models.precision import at_least_float32


def task_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """MultiLabelSoftMarginLoss, mean over images and classes (VOC), or cross entropy, mean over images (ImageNet).

    Args:
        logits: [B, C].
        labels: 0 or 1 for every class, float [B, C]; or the index of the only class, int64 [B].

    Returns:
        A scalar.

    Source: supplement C.2 and B.
    """
    logits = at_least_float32(logits)
    if labels.dim() == 1:
        return F.cross_entropy(logits, labels)
    return F.multilabel_soft_margin_loss(logits, labels)


class TaskObjective(nn.Module):
    """The task's loss and nothing else: teachers, and small networks from scratch.

    Args:
        student: the network that is trained; a teacher too is somebody's student while it learns.
    """

    differentiates_trunk_twice = False

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def start_epoch(self, seed: int) -> None:
        """Nothing here is drawn."""

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parts of the loss by name, each a scalar: `loss` and `task`, which are equal here.

        The result also has `logits`, the student's detached logits, [B, C].
        """
        logits = self.student(images)
        task = task_loss(logits, labels)
        return {"loss": task, "task": task, "logits": logits.detach()}
