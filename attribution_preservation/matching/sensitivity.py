"""Gradient of a logit with respect to a feature map: in closed form for a linear head, otherwise by autograd."""

import torch

from attribution_preservation.matching.loss import Target
from attribution_preservation.matching.view import View
from attribution_preservation.models.gradient_mode import constant, differentiable
from attribution_preservation.models.network import LinearHead, Network


def in_closed_form(network: Network, layer: str) -> bool:
    """Whether the gradient of a logit with respect to a layer's output has a closed form."""
    return layer == network.last_layer and isinstance(network.head, LinearHead)


def feature_gradient(view: View, layer: str, classes: torch.Tensor, centred: bool = False) -> torch.Tensor:
    """g = d y_c / d f of each image's class c with respect to a layer's output.

    If autograd is recording, the result can itself be differentiated (double backward).

    Args:
        view: a pass of the network.
        layer: name of the layer.
        classes: c for each image, int64 [B].
        centred: differentiate y_c minus the mean of the image's logits instead. DeepLIFT (Shrikumar et al. 2017,
            section 3.6) recommends this before a softmax.

    Returns:
        [B, K, h, w]
    """
    if in_closed_form(view.network, layer):
        return view.network.head.gradient(view.last, classes, view.kept, centred)
    return gradient_by_autograd(view.explained, view.features[layer], classes, centred)


def gradient_by_autograd(
    logits: torch.Tensor, source: torch.Tensor, classes: torch.Tensor, centred: bool = False
) -> torch.Tensor:
    """`feature_gradient` for any computation from `source` to `logits` [B, C]; the result has the shape of `source`.

    Raises:
        ValueError: autograd did not record the computation.
    """
    if not (logits.requires_grad and source.requires_grad):
        raise ValueError("the pass was not recorded; run it with gradients on, from a source that requires them")
    recording = torch.is_grad_enabled()
    with differentiable():
        with torch.enable_grad():
            chosen = logits.gather(1, constant(classes)[:, None]).sum()
            if centred:
                chosen = chosen - logits.mean(1).sum()
        (gradient,) = torch.autograd.grad(chosen, source, create_graph=recording, retain_graph=True)
    return gradient


def target_gradient(view: View, target: Target, centred: bool) -> torch.Tensor:
    """`feature_gradient` at the target's layer, 0 in the channels that `target.drawn` leaves out, [B, K, h, w]."""
    gradient = feature_gradient(view, target.layer, target.classes, centred)
    return gradient if target.drawn is None else gradient * target.drawn.to(gradient)[:, None, None]
