"""The loss of a network that is compressed: its task, and its maps beside the teacher's."""

from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import nn

from attribution_preservation.matching.distance import map_distance
from attribution_preservation.matching.ewa import ewa_map
from attribution_preservation.matching.swa import drop_channels, sensitivity, swa_map
from attribution_preservation.models.vgg import VGG


class FrozenTeacher(nn.Module):
    """A teacher that cannot leave eval mode and whose parameters need no gradient.

    The released code left its teacher in training mode while pruning: its dropout was on and its statistics drifted.
    """

    def __init__(self, network: VGG) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever is asked for."""
        return super().train(False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Feature map [B, K, h, w], logits [B, C] and top class [B] of each image, without gradients."""
        with torch.no_grad():
            feature_map = self.network.trunk(images)
        feature_map.requires_grad_()
        with torch.enable_grad():
            logits = self.network.head(feature_map)
        return feature_map, logits, logits.argmax(1)


class MatchedObjective(nn.Module):
    """Task loss + strength * distance between the student's and the teacher's attribution maps.

    The maps explain the TEACHER's top class in both networks. The student's SWA map is differentiated through its
    channel weights as well (double backward through the head); the teacher's is a constant.

    Args:
        student: the network that is trained.
        teacher: its teacher; kept in eval mode.
        maps: `ewa` or `swa`.
        strength: factor of the distance.
        dropped_share: share of the teacher's channels left out per batch (SSWA).
        student_dropout: whether the student's sensitivities see the dropout mask of its task forward, as released.
    """

    def __init__(
        self,
        student: VGG,
        teacher: VGG,
        *,
        maps: Literal["ewa", "swa"],
        strength: float,
        dropped_share: float = 0.0,
        student_dropout: bool = True,
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = FrozenTeacher(teacher)
        self._maps, self._strength = maps, strength
        self._dropped_share, self._student_dropout = dropped_share, student_dropout

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parts of the loss by name, each a scalar: `loss` (their sum), `task`, and `matching` before its factor."""
        feature_map = self.student.trunk(images)
        logits = self.student.head(feature_map)
        task = F.multilabel_soft_margin_loss(logits, labels)
        teacher_features, teacher_logits, classes = self.teacher(images)
        if self._maps == "ewa":
            student_map, teacher_map = ewa_map(feature_map), ewa_map(teacher_features)
        else:
            alpha = sensitivity(self._explained(feature_map, logits), feature_map, classes)
            with torch.no_grad():
                teacher_alpha = drop_channels(
                    sensitivity(teacher_logits, teacher_features, classes), self._dropped_share
                )
            student_map, teacher_map = swa_map(feature_map, alpha), swa_map(teacher_features, teacher_alpha)
        matching = map_distance(student_map, teacher_map)
        return {"loss": task + self._strength * matching, "task": task, "matching": matching}

    def _explained(self, feature_map: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if self._student_dropout:
            return logits
        dropout = [m for m in self.student.head.modules() if isinstance(m, nn.Dropout) and m.training]
        for module in dropout:
            module.eval()
        try:
            return self.student.head(feature_map)
        finally:
            for module in dropout:
                module.train()
