"""The task by itself: multi-label classification."""

import torch
import torch.nn.functional as F
from torch import nn


class TaskObjective(nn.Module):
    """MultiLabelSoftMarginLoss on the logits, and nothing else ("Naive" in a compression).

    Args:
        student: the network that is trained; a teacher too is somebody's student while it learns.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parts of the loss by name, each a scalar: `loss` and `task`, which are equal here."""
        task = F.multilabel_soft_margin_loss(self.student(images), labels)
        return {"loss": task, "task": task}
