"""SWA and SSWA, (stochastic) sensitivity weighted attribution: a channel counts as much as the class depends on it."""

import torch
import torch.nn.functional as F


def sensitivity(logits: torch.Tensor, feature_map: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """alpha_k = sum over positions of d y_c / d f_k: how much class c depends on channel k.

    Only what lies between the feature map and the logits is differentiated, so this costs a pass through the head.
    Where autograd is recording, the result can be differentiated in turn.

    Args:
        logits: y, [B, C], computed from `feature_map`.
        feature_map: f, [B, K, h, w], with gradient.
        classes: c for each image, int64 [B].

    Returns:
        alpha, [B, K].

    Source: Grad-CAM's channel weights (Selvaraju et al. 2017), summed instead of averaged; Park et al. 2020.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        chosen = logits.gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, feature_map, create_graph=differentiable, retain_graph=True)
    return gradient.sum((2, 3))


def swa_map(feature_map: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """M = ReLU(sum over k of alpha_k f_k).

    Args:
        feature_map: f, [B, K, h, w].
        alpha: channel weights [B, K].

    Returns:
        Maps [B, h, w], not negative.
    """
    return F.relu(torch.einsum("bk,bkhw->bhw", alpha, feature_map))


def drop_channels(alpha: torch.Tensor, share: float) -> torch.Tensor:
    """Leave out a share of the channels, one draw without replacement for the whole batch (SSWA, teacher only).

    Args:
        alpha: the teacher's channel weights [B, K].
        share: p; round(p K) channels get weight 0.

    Returns:
        alpha with those channels at 0, [B, K]; the draw comes from torch's global CPU generator.
    """
    channels = alpha.shape[1]
    dropped = torch.randperm(channels)[: round(share * channels)]
    kept = torch.ones(channels)
    kept[dropped] = 0
    return alpha * kept.to(alpha.device, alpha.dtype)
