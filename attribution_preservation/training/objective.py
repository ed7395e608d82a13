"""The task by itself."""

import torch
from torch import nn

from attribution_preservation.models.task import task_loss


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
        """Parts of the loss by name, each a scalar: `loss` and `task`, which are equal here; beside them `logits`.

        `logits` are the student's, [B, C], without their graph.
        """
        logits = self.student(images)
        task = task_loss(logits, labels)
        return {"loss": task, "task": task, "logits": logits.detach()}
