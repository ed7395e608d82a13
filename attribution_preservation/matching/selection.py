"""Selection of the matched images: all, or those that the teacher classifies correctly."""

import torch


def right_images(teacher_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Whether the image's labels include the teacher's top class, which is the explained class; bool [B].

    Args:
        teacher_logits: [B, C].
        labels: 0 or 1, [B, C]; or class indices, int64 [B].
    """
    top = teacher_logits.argmax(1)
    return labels == top if labels.dim() == 1 else labels.gather(1, top[:, None])[:, 0] > 0


def mean_over(distances: torch.Tensor, chosen: torch.Tensor | None) -> torch.Tensor:
    """Mean of distances [B] over the chosen images, or over all if `chosen` is None; 0 if no image is chosen."""
    if chosen is None:
        return distances.mean()
    return (distances * chosen).sum() / chosen.sum().clamp_min(1)
