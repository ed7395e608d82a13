"""Predictions of a network during training: their score over the images of an epoch."""

from collections.abc import Callable

import numpy as np
import torch

from attribution_preservation.training.processes import Processes

# Function from logits and labels, [N, C] each, to a score in percent.
Score = Callable[[np.ndarray, np.ndarray], float]


class Answers:
    """Logits of one epoch's training steps, with their labels.

    These are the logits of the loss; nothing is computed twice. The images are augmented, dropout is on, and the
    weights change from step to step. So the score describes training. It does not evaluate the final network.

    Args:
        processes: processes that train together; each adds the logits of its share of a batch.
        mean_ap: function that scores images that may have several classes.
    """

    def __init__(self, processes: Processes, mean_ap: Score) -> None:
        self._processes, self._mean_ap = processes, mean_ap
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []  # still on the device
        self._kept: list[tuple[torch.Tensor, ...]] = []

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep the logits and labels of one step, without waiting for the device.

        Args:
            logits: [B, C].
            labels: 0 or 1 for every class, [B, C]; or the index of the only class, [B].
        """
        self._waiting.append((logits.detach(), labels))

    def fetch(self) -> None:
        """Copy the added logits and labels to the CPU; waits for the device."""
        logits, labels = (torch.cat(of_steps).cpu() for of_steps in zip(*self._waiting, strict=True))
        logits, self._waiting = logits.float(), []
        # If classes exclude each other, only hits are kept: the logits of an epoch of ImageNet would take 5 GB.
        exclusive = labels.dim() == 1
        self._kept.append((100.0 * (logits.argmax(dim=1) == labels),) if exclusive else (logits, labels))

    def score(self) -> dict[str, float]:
        """The score of all fetched logits, in percent, over the images of all processes.

        Returns:
            `top1` if classes exclude each other, else `mean_ap`. `mean_ap` is NaN if no image has a label, or if a
            logit is not finite.
        """
        logits, *labels = (self._gathered(torch.cat(of_looks)) for of_looks in zip(*self._kept, strict=True))
        if not labels:
            return {"top1": float(logits.mean(dtype=np.float64))}
        scored = labels[0].any() and np.isfinite(logits).all()
        return {"mean_ap": self._mean_ap(logits, labels[0]) if scored else float("nan")}

    def _gathered(self, rows: torch.Tensor) -> np.ndarray:
        return self._processes.gathered(rows).numpy()
