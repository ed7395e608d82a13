"""The task that networks are trained for, as the labels tell it: classes that exclude each other, or do not."""

import torch
import torch.nn.functional as F

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
