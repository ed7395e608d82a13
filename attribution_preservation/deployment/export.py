"""A network as one ONNX file that predicts and explains itself where it runs, without autograd."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from attribution_preservation.models.network import Network


class ExplainedNetwork(nn.Module):
    """Logits, and the Grad-CAM map of every class, in one forward pass.

    alpha_k of a class is a constant where the head is linear. What lies between the explained map and the head is at
    most a max-pool, which hands each position's weight to one winner; summed over positions all weights arrive,
    whoever wins. So the maps are a 1 x 1 convolution with constant weights, and a ReLU.

    Args:
        network: in eval mode; only read.

    Raises:
        ValueError: the network is in training mode, or something else than one max-pool lies above the explained map.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        if network.training:
            raise ValueError("the network must be in eval mode")
        above = network.trunk[network.layer_index[network.explained_layer] + 1 :]
        if len(above) > 1 or not all(isinstance(module, nn.MaxPool2d) for module in above):
            raise ValueError("more than a max-pool lies between the explained map and the head")
        self.network = network
        weight = network.head.linear.weight.detach()
        positions = network.head.side**2 if network.head.side else 1
        self.register_buffer("alpha", weight.view(network.classes, -1, positions).sum(2)[:, :, None, None])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [B, C] and maps [B, C, h, w], not negative, of normalised images [B, 3, S, S]."""
        activation = self.network.last_activation(images)
        return self.network.logits_from_activation(activation), F.relu(F.conv2d(activation, self.alpha))


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
