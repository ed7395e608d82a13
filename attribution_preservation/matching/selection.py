"""Which images are matched: all, or those that the teacher gets right."""

import torch


def right_images(teacher_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Whether the teacher's top class, the one that is explained, is among the image's labels; bool [B].

    Args:
        teacher_logits: [B, C].
        labels: 0 or 1, [B, C]; or class indices, int64 [B].
    """
    top = teacher_logits.argmax(1)
    return labels == top if labels.dim() == 1 else labels.gather(1, top[:, None])[:, 0] > 0


def mean_over(distances: torch.Tensor, chosen: torch.Tensor | None) -> torch.Tensor:
    """Mean of distances [B] over the chosen images; 0 where none is chosen, and over all of them for None."""
    if chosen is None:
        return distances.mean()
    return (distances * chosen).sum() / chosen.sum().clamp_min(1)
