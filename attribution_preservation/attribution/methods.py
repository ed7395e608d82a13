"""Every attribution method behind one interface: maps = method(network, images, classes, image_of_pair)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from attribution_preservation.attribution.bottleneck import describe_units, information_bottleneck
from attribution_preservation.attribution.excitation_bp import excitation_bp_relevance
from attribution_preservation.attribution.grad_cam import activation_gradient, grad_cam
from attribution_preservation.attribution.gradients import deep_lift, gradient_input, integrated_gradients
from attribution_preservation.attribution.lrp import lrp_relevance
from attribution_preservation.attribution.perturbation import extremal_perturbation, meaningful_perturbation
from attribution_preservation.attribution.rap import rap_relevance
from attribution_preservation.attribution.relevance import Relevance, quotient
from attribution_preservation.attribution.rise import rise
from attribution_preservation.models.network import Network
from attribution_preservation.pipeline.schema.attribute import InformationBottleneck, Method


class Attribution:
    """One method with its parameters: `maps = method(network, images, classes, image_of_pair)`.

    It explains `classes` [P] of `images` [B, 3, S, S]; `image_of_pair` [P] says which image each class belongs to, and
    is left out where there is one class per image. Maps are [P, h, w], in the resolution that the method has. The
    network is left as it was, and a pair's map does not depend on what else is asked.

    Args:
        settings: its parameters.
        network: that will be explained, in eval mode.
        training_images: normalised, [N, 3, S, S], for the method that has to know how units are distributed.
    """

    def __init__(self, settings: Method, network: Network, training_images: torch.Tensor) -> None:
        self._maps = settings.maps
        self._options = settings.model_dump(exclude={"maps", "pairs"})
        if isinstance(settings, InformationBottleneck):
            layer = settings.layer or network.explained_layer
            self._options = {name: self._options[name] for name in ("steps", "samples", "seed")}
            self._options["units"] = describe_units(network, layer, training_images[: settings.references])

    def __call__(
        self,
        network: Network,
        images: torch.Tensor,
        classes: torch.Tensor,
        image_of_pair: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Maps [P, h, w].

        Raises:
            ValueError: see `attribution_preservation.attribution.pairs.rows_of`.
            TypeError: the method has no rule for one of the network's layers.
        """
        return self.explain(network, images, classes, image_of_pair)[0]

    def explain(
        self,
        network: Network,
        images: torch.Tensor,
        classes: torch.Tensor,
        image_of_pair: torch.Tensor | None = None,
        activation: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Maps, and of a method that hands down relevance the share in percent that did not arrive, [P].

        Args:
            activation: the network's last activation of the images, [B, K, h, w], for a method that starts there.
        """
        if walk := _RELEVANCE.get(self._maps):
            found = walk(network, images, classes, image_of_pair)
            share = quotient(100 * found.absorbed, found.start)
            return F.relu(found.maps) if self._maps == "rap" else found.maps, share
        known = {"activation": activation} if self._maps in _FROM_ACTIVATION else {}
        return _FUNCTIONS[self._maps](network, images, classes, image_of_pair, **known, **self._options), None


_RELEVANCE: dict[str, Callable[..., Relevance]] = {
    "excitation_bp": excitation_bp_relevance,
    "lrp": lrp_relevance,
    "rap": rap_relevance,
}
_FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "grad_cam": grad_cam,
    "activation_gradient": activation_gradient,
    "gradient_input": gradient_input,
    "integrated_gradients": integrated_gradients,
    "deep_lift": deep_lift,
    "rise": rise,
    "meaningful_perturbation": meaningful_perturbation,
    "extremal_perturbation": extremal_perturbation,
    "information_bottleneck": information_bottleneck,
}
_FROM_ACTIVATION = ("grad_cam", "activation_gradient")
