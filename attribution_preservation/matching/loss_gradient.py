"""Sensitivity matching of Zagoruyko and Komodakis: the gradient of the LOSS with respect to the INPUT.

The reviews of Park et al. 2020 ask for a comparison with SWA. If a network is right and confident, the gradient of its
loss vanishes. So this loss matches least for the images whose explanation matters most.
"""

import torch

from attribution_preservation.matching.loss import MapSettings, MatchingLoss, StudentDropout, Target
from attribution_preservation.matching.view import View
from attribution_preservation.models.gradient_mode import constant, differentiable
from attribution_preservation.models.task import task_loss


class LossGradientSettings(MapSettings, StudentDropout):
    """The gradient of the loss."""


def loss_gradient(view: View, labels: torch.Tensor) -> torch.Tensor:
    """J = d loss / d x of every image.

    Args:
        view: a pass that records gradients from the input on.
        labels: as `task_loss` takes them.

    Returns:
        [B, 3, S, S]
    """
    recording = torch.is_grad_enabled()
    with differentiable():
        with torch.enable_grad():
            loss = task_loss(view.explained, constant(labels)) * len(labels)  # the sum of the losses of all images
        (gradient,) = torch.autograd.grad(loss, view.images, create_graph=recording, retain_graph=True)
    return gradient


def gradient_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1/2 |J_s - J_t|_2^2 per image, [B]. As published, the gradients are not normalised.

    Source: Zagoruyko and Komodakis 2017, section 3.2.
    """
    return 0.5 * (student - teacher.detach()).flatten(1).square().sum(1)


def _map(view: View, target: Target, settings: LossGradientSettings) -> torch.Tensor:
    return loss_gradient(view, target.labels)


LOSS_GRADIENT = MatchingLoss(
    "loss_gradient",
    "Loss gradient",
    _map,
    LossGradientSettings,
    of="input",
    recorded="input",
    distance=gradient_distance,
    example={"strength": 1000.0},
)
