"""A network as one ONNX file that predicts and explains itself where it runs, without autograd."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from attribution_preservation.models.network import LinearHead, Network


class ExplainedNetwork(nn.Module):
    """Logits, and the Grad-CAM map of every class, in one forward pass.

    Between the explained map and the head there is at most a max-pool. The pool passes each position's weight to one
    position of the map, so the sum over positions contains all weights. Hence the head's weights determine alpha_k of a
    class. For a linear head alpha_k is a constant, and the maps are a 1 x 1 convolution and a ReLU. For a head with
    hidden layers it is the product of their weights, computed for each image, with 0 in the columns of inactive units.

    Args:
        network: in eval mode; only read.

    Raises:
        ValueError: the network is in training mode, or something else than one max-pool lies above the explained map.
    """

    @torch.inference_mode(False)
    def __init__(self, network: Network) -> None:
        super().__init__()
        if network.training:
            raise ValueError("the network must be in eval mode")
        above = network.trunk[network.layer_index[network.explained_layer] + 1 :]
        if len(above) > 1 or not all(isinstance(module, nn.MaxPool2d) for module in above):
            raise ValueError("more than a max-pool lies between the explained map and the head")
        self.network = network
        weight = network.head.linears[0].weight.detach()
        positions = network.head.side**2 if network.head.side else 1
        self.register_buffer("of_channels", weight.view(len(weight), -1, positions).sum(2))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [B, C] and maps [B, C, h, w], not negative, of normalised images [B, 3, S, S]."""
        network = self.network
        activation = network.last_activation(images)
        feature_map = network.beyond(network.explained_layer, activation)[network.last_layer]
        if isinstance(network.head, LinearHead):
            maps = F.conv2d(activation, self.of_channels[:, :, None, None])
        else:
            maps = torch.einsum("bck,bkhw->bchw", self._alpha(feature_map), activation)
        return network.head(feature_map), F.relu(maps)

    def _alpha(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Of every class and channel, [B, C, K]."""
        head, active, flowing = self.network.head, [], feature_map
        for layer in head.below:
            flowing = layer(flowing)
            if isinstance(layer, nn.ReLU):
                active.append(flowing > 0)
        *weights, last = self.of_channels, *(linear.weight.detach() for linear in head.linears[1:])
        alpha = last[None]
        for weight, on in zip(reversed(weights), reversed(active), strict=True):
            alpha = (alpha * on[:, None]) @ weight
        return alpha


@torch.inference_mode(False)
@torch.autocast("cpu", enabled=False)  # else its precision would stay in the file
def export_onnx(network: Network, path: Path) -> None:
    """Write a network as ONNX: input `images` [batch, 3, S, S], outputs `logits` and `grad_cam` [batch, C, h, w].

    Args:
        network: in eval mode, on the CPU.
        path: the file; needs the packages onnx and onnxscript.
    """
    size = network.input_size
    torch.onnx.export(
        ExplainedNetwork(network).eval(),
        (torch.zeros(2, 3, size, size),),
        path,
        input_names=["images"],
        output_names=["logits", "grad_cam"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
