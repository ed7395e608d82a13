"""The task that networks are trained for: multi-label classification."""

import torch
import torch.nn.functional as F

from attribution_preservation.models.precision import at_least_float32


def task_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """MultiLabelSoftMarginLoss, mean over images and classes (method: supplement C.2).

    Args:
        logits: [B, C].
        labels: 0 or 1, float [B, C].

    Returns:
        A scalar.
    """
    return F.multilabel_soft_margin_loss(at_least_float32(logits), labels)
