"""Results of one pass of a network over a batch for matching: feature maps, logits, and the graph between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from attribution_preservation.models.gradient_mode import constant, differentiable, made_in_inference_mode
from attribution_preservation.models.network import Kept, Network


@dataclass(frozen=True)
class View:
    """One pass over a batch.

    Attributes:
        network: the network that ran.
        images: normalised, [B, 3, S, S]; they require gradients if maps differentiate with respect to the input.
        features: outputs of the named layers and of the last layer, each [B, K, h, w], by name.
        logits: logits of the task, [B, C].
        explained: the logits that maps explain, [B, C]: equal to `logits`, or computed without dropout.
        kept: dropout's factors in `explained`, or None.
    """

    network: Network
    images: torch.Tensor
    features: dict[str, torch.Tensor]
    logits: torch.Tensor
    explained: torch.Tensor
    kept: Kept

    @property
    def last(self) -> torch.Tensor:
        """The trunk's output."""
        return self.features[self.network.last_layer]


def student_view(
    network: Network, images: torch.Tensor, layers: Sequence[str], *, dropout: bool = True, from_input: bool = False
) -> View:
    """One pass that records gradients of everything, even if the caller has switched gradients off.

    Args:
        network: the student.
        images: [B, 3, S, S].
        layers: names of the layers whose outputs are kept.
        dropout: whether the explained logits use the dropout mask of the task's logits.
        from_input: whether maps differentiate with respect to the images.

    Raises:
        ValueError: the student was created under `torch.inference_mode`.
    """
    if made_in_inference_mode(network):
        raise ValueError("the student was made under torch.inference_mode and cannot be trained; make it outside")
    with differentiable(), torch.enable_grad():
        if from_input or images.is_inference():
            images = constant(images).requires_grad_(from_input)
        features = network.features(images, layers)
        last = features[network.last_layer]
        kept = network.head.draw(last)
        logits = network.head.logits(last, kept)
        if dropout or kept is None:
            return View(network, images, features, logits, logits, kept)
        return View(network, images, features, logits, network.head.logits(last, None), None)


class FrozenTeacher(nn.Module):
    """A teacher that cannot leave eval mode and whose parameters need no gradient.

    The paper's released code leaves the teacher in training mode during pruning: dropout is on and statistics drift.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = constant(network).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode and ignore `mode`."""
        return super().train(False)

    def forward(
        self,
        images: torch.Tensor,
        layers: Sequence[str] = (),
        differentiated: Sequence[str] = (),
        from_input: bool = False,
    ) -> View:
        """One pass that records gradients only as far as maps need them.

        Args:
            images: [B, 3, S, S].
            layers: names of the layers whose outputs are kept.
            differentiated: layers at which autograd differentiates the logits, by name. Recording begins at the first.
            from_input: whether maps differentiate with respect to the images.
        """
        with differentiable():
            return self._pass(constant(images), layers, differentiated, from_input)

    def _pass(
        self, images: torch.Tensor, layers: Sequence[str], differentiated: Sequence[str], from_input: bool
    ) -> View:
        network = self.network
        if from_input:
            images.requires_grad_()
            with torch.enable_grad():
                features = network.features(images, layers)
        elif not differentiated:
            # Tensors computed from these outside are no longer in inference mode, so a loss may use them.
            with torch.inference_mode():
                features = network.features(images, layers)
                return View(network, images, features, *2 * (network.head(features[network.last_layer]),), None)
        else:
            first = min(differentiated, key=network.layer_index.__getitem__)
            before = [name for name in layers if network.layer_index[name] < network.layer_index[first]]
            with torch.no_grad():
                features = network.features(images, [*before, first], until=first)
            with torch.enable_grad():
                features |= network.beyond(first, features[first].requires_grad_(), layers)
        with torch.set_grad_enabled(from_input or bool(differentiated)):
            logits = network.head(features[network.last_layer])
        return View(network, images, features, logits, logits, None)
