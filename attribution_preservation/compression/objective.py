"""Training loss of a compressed network: task loss, distillation, and matching of the teacher's maps."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from attribution_preservation.compression.distillation import binary_distillation, exclusive_distillation
from attribution_preservation.matching.loss import MapSettings, MatchingSettings
from attribution_preservation.matching.matcher import Matcher
from attribution_preservation.matching.view import FrozenTeacher
from attribution_preservation.models.network import Network
from attribution_preservation.models.task import task_loss
from attribution_preservation.settings import Section, between


class Logits(Section):
    """The loss of distillation: weight * T^2 * KL + (1 - weight) * task loss.

    Attributes:
        temperature: T, by which both networks' logits are divided.
        weight: share of the distillation loss; 1 - weight is the share of the task loss.
    """

    # In float32 the divergence of logits / T is a difference of numbers near 1 that shrinks with T^2. Its value has two
    # correct digits at T = 1000 and none at 10^4. Below 1 the loss's gradient shrinks with T, to a hundredth at 0.01.
    temperature: Annotated[float, Field(gt=0), between(0.01, 1000)]
    weight: Annotated[float, Field(ge=0, le=1)]


class CompressionObjective(nn.Module):
    """Task loss, or its mixture with distillation, plus strength * distance between attribution maps.

    Without matching and distillation ("Naive" in pruning) the teacher does not run.

    Args:
        student: the network that is trained.
        teacher: its teacher, which stays in eval mode.
        matching: the method's parameters.
        distillation: settings of the distillation loss; None without distillation.
    """

    def __init__(
        self, student: Network, teacher: Network, matching: MatchingSettings, distillation: Logits | None = None
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, FrozenTeacher(teacher)
        self._distillation, self._matcher, self._strength = distillation, None, 0.0
        if isinstance(matching, MapSettings):
            self._matcher, self._strength = Matcher(matching, student, teacher), matching.strength

    @property
    def differentiates_trunk_twice(self) -> bool:
        """Whether the loss contains a gradient through the student's trunk. Training then needs second derivatives."""
        return self._matcher is not None and self._matcher.differentiates_trunk

    def start_epoch(self, seed: int) -> None:
        """Seed the random draws of the matching loss."""
        if self._matcher:
            self._matcher.start_epoch(seed)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parts of the loss by name, each a scalar: `loss`, `task`, and if used `distillation` and `matching`.

        `distillation` and `matching` are not yet multiplied by their factors. The result also has `logits`, the
        student's detached logits for the task, [B, C].
        """
        matcher, teacher_logits, parts = self._matcher, None, {}
        if matcher:
            # The teacher runs first: the memory of its pass is free before the student's activations have to be kept.
            teacher, student = matcher.teacher_view(self.teacher, images), matcher.student_view(self.student, images)
            logits, teacher_logits = student.logits, teacher.logits
            parts["matching"] = matcher(student, teacher, labels)
        else:
            logits = self.student(images)
        parts["task"] = loss = task_loss(logits, labels)
        if self._distillation:
            teacher_logits = self.teacher(images).logits if teacher_logits is None else teacher_logits
            temperature, weight = self._distillation.temperature, self._distillation.weight
            divergence = exclusive_distillation if labels.dim() == 1 else binary_distillation
            parts["distillation"] = divergence(logits, teacher_logits, temperature)
            loss = weight * temperature**2 * parts["distillation"] + (1 - weight) * loss
        if matcher:
            loss = loss + self._strength * parts["matching"]
        return {"loss": loss, **parts, "logits": logits.detach()}


def matching_objective(section: Any, student: Network, teacher: Network, matching: MatchingSettings) -> nn.Module:
    """The loss of a compression without distillation: the task's, and the matching loss."""
    return CompressionObjective(student, teacher, matching)
