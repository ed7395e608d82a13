"""The base classes of all networks: a trunk whose layers have names, and a head."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, ClassVar

import torch
from torch import nn

# Dropout's factors: of a linear head [B, inputs], of hidden layers one [B, width] each; None where nothing is dropped.
Kept = torch.Tensor | tuple[torch.Tensor, ...] | None


class Head(nn.Module, ABC):
    """From a feature map to the logits; its last layer is linear.

    Dropout is drawn explicitly, so that a gradient can be taken under the draw that the logits saw.

    Attributes:
        linear: the last layer.
        side: side of the feature map if every position has its own weights; None if positions are averaged.
        dropout: probability p that a value is dropped.
    """

    linear: nn.Linear
    side: int | None
    dropout: float

    @property
    @abstractmethod
    def linears(self) -> list[nn.Linear]:
        """The linear layers; the first reads the feature map."""

    @property
    @abstractmethod
    def below(self) -> list[nn.Module]:
        """The layers between the feature map and the last one, dropout left out."""

    @abstractmethod
    def draw(self, feature_map: torch.Tensor) -> Kept:
        """Dropout's factors for a feature map [B, K, h, w], each 0 or 1 / (1 - p); None where nothing is dropped."""

    @abstractmethod
    def logits(self, feature_map: torch.Tensor, kept: Kept) -> torch.Tensor:
        """Logits [B, C] of a feature map [B, K, h, w] under a given draw of dropout."""

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of a feature map [B, K, h, w], with a draw of its own in training mode."""
        return self.logits(feature_map, self.draw(feature_map))

    def inputs(self, entering: torch.Tensor) -> torch.Tensor:
        """The input of a linear layer, [B, n], from a feature map [B, K, h, w] or a hidden layer's output [B, n]."""
        return entering.flatten(1) if self.side else entering.mean((2, 3))

    def _factors(self, feature_map: torch.Tensor, width: int) -> torch.Tensor:
        # Uniform numbers, compared: on a CPU a third of the time that F.dropout takes, 4 % of a small network's step.
        uniform = torch.rand(len(feature_map), width, device=feature_map.device)
        return uniform.ge_(self.dropout).div_(1 - self.dropout).to(feature_map.dtype)


class LinearHead(Head):
    """Logits that depend linearly on the feature map: per position (VGG) or on its mean over positions (ResNet).

    The gradient of a logit, a slice of the weights times the draw of dropout, is known in closed form.

    Args:
        channels: K.
        side: side of the feature map if every position has its own weights; None if positions are averaged.
        classes: C.
        dropout: probability p before the linear layer.
    """

    def __init__(self, channels: int, side: int | None, classes: int, dropout: float) -> None:
        super().__init__()
        self.side, self.dropout = side, dropout
        self.linear = nn.Linear(channels * side * side if side else channels, classes)

    @property
    def linears(self) -> list[nn.Linear]:
        """The only one."""
        return [self.linear]

    @property
    def below(self) -> list[nn.Module]:
        """None."""
        return []

    def draw(self, feature_map: torch.Tensor) -> torch.Tensor | None:
        """Dropout's factors, 0 or 1 / (1 - p), [B, inputs of the linear layer]; None where nothing is dropped."""
        if not self.training or not self.dropout:
            return None
        return self._factors(feature_map, self.linear.in_features)

    def logits(self, feature_map: torch.Tensor, kept: Kept) -> torch.Tensor:
        """Logits [B, C] of a feature map [B, K, h, w] under a given draw of dropout."""
        inputs = self.inputs(feature_map)
        return self.linear(inputs if kept is None else inputs * kept)

    def gradient(
        self, feature_map: torch.Tensor, classes: torch.Tensor, kept: Kept, centred: bool = False
    ) -> torch.Tensor:
        """d y_c / d f in closed form, differentiable with respect to the weights.

        Args:
            feature_map: f, [B, K, h, w]; only its shape matters.
            classes: c for each image, int64 [B].
            kept: dropout's factors that the logits saw.
            centred: the gradient of y_c minus the mean of all logits instead.

        Returns:
            [B, K, h, w]
        """
        weight = self.linear.weight
        # index_select: the backward pass of weight[classes] takes ten times as long on a CPU.
        rows = (weight - weight.mean(0) if centred else weight).index_select(0, classes)
        rows = rows if kept is None else rows * kept
        if self.side:
            return rows.view(feature_map.shape)
        positions = feature_map.shape[2] * feature_map.shape[3]
        return (rows / positions)[:, :, None, None].expand(feature_map.shape)


class HiddenHead(Head):
    """Hidden layers, each with ReLU and dropout behind it, between the flattened feature map and the logits.

    With widths (4096, 4096) and p = 0.5 it is the classifier of torchvision's VGG.

    Args:
        channels: K.
        side: of the feature map.
        widths: of the hidden layers, from the feature map to the logits.
        classes: C.
        dropout: probability p after each hidden layer.
    """

    def __init__(self, channels: int, side: int, widths: tuple[int, ...], classes: int, dropout: float) -> None:
        super().__init__()
        self.side, self.dropout = side, dropout
        self.flatten = nn.Flatten()
        inputs = [channels * side * side, *widths]
        self.hidden = nn.ModuleList(nn.Linear(*both) for both in pairwise(inputs))
        self.activations = nn.ModuleList(nn.ReLU() for _ in widths)  # one each: DeepLIFT looks at every one by itself
        self.linear = nn.Linear(inputs[-1], classes)

    @property
    def linears(self) -> list[nn.Linear]:
        """Hidden ones and the last."""
        return [*self.hidden, self.linear]

    @property
    def below(self) -> list[nn.Module]:
        """The flattening, and each hidden layer with its ReLU."""
        return [self.flatten, *chain.from_iterable(zip(self.hidden, self.activations, strict=True))]

    def draw(self, feature_map: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        """Dropout's factors of each hidden layer, 0 or 1 / (1 - p), [B, width]; None where nothing is dropped."""
        if not self.training or not self.dropout:
            return None
        return tuple(self._factors(feature_map, layer.out_features) for layer in self.hidden)

    def logits(self, feature_map: torch.Tensor, kept: Kept) -> torch.Tensor:
        """Logits [B, C] of a feature map [B, K, h, w] under a given draw of dropout."""
        flowing = self.flatten(feature_map)
        for number, (layer, activation) in enumerate(zip(self.hidden, self.activations, strict=True)):
            flowing = activation(layer(flowing))
            flowing = flowing if kept is None else flowing * kept[number]
        return self.linear(flowing)


@dataclass(frozen=True)
class FilterGroup:
    """A convolution whose filters can be removed, and everything that goes with them.

    Attributes:
        convolution: the layer.
        normalization: the batch normalisation behind it.
        consumer: the only layer that reads its output.
        positions: inputs of the consumer per channel: 1 for a convolution, h * w for a linear layer behind a flattened
            map, whose inputs are ordered channel by channel.
    """

    convolution: nn.Conv2d
    normalization: nn.BatchNorm2d
    consumer: nn.Conv2d | nn.Linear
    positions: int

    @torch.inference_mode(False)
    @torch.no_grad()
    def keep(self, filters: torch.Tensor) -> None:
        """Remove all other filters, with their statistics and with the consumer's weights for them.

        Args:
            filters: indices of those that stay, ascending, int64 [n].
        """
        for module in (self.convolution, self.normalization):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(parameter[filters].clone()))
        for name in ("running_mean", "running_var"):
            setattr(self.normalization, name, getattr(self.normalization, name)[filters].clone())
        weight = self.consumer.weight
        grouped = weight.reshape(len(weight), -1, self.positions, *weight.shape[2:])[:, filters]
        self.consumer.weight = nn.Parameter(grouped.flatten(1, 2).clone())
        self.convolution.out_channels = self.normalization.num_features = len(filters)
        if isinstance(self.consumer, nn.Conv2d):
            self.consumer.in_channels = len(filters)
        else:
            self.consumer.in_features = len(filters) * self.positions


class Network(nn.Module, ABC):
    """A convolutional trunk with named layers and a head.

    Attributes:
        trunk: its last layer's output [B, K, h, w] is the feature map that matching uses unless another is named.
        head: from that feature map to the logits.
        layer_index: index in the trunk of each named layer, from input to output.
        explained_layer: name of the layer whose output Grad-CAM weighs.
        input_size: side of the square input in pixels.
        torchvision_trunk: how the names of the trunk's tensors begin in a file of torchvision's.
    """

    trunk: nn.Sequential
    head: Head
    layer_index: dict[str, int]
    explained_layer: str
    input_size: int
    torchvision_trunk: ClassVar[str] = ""

    @property
    def classes(self) -> int:
        """Number of logits C."""
        return self.head.linear.out_features

    @property
    def last_layer(self) -> str:
        """Name of the trunk's last layer."""
        return next(reversed(self.layer_index))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of normalised images [B, 3, S, S]."""
        return self.head(self._run(images, 0, self.last_layer, {self.last_layer})[self.last_layer])

    def compile_trunk(self) -> None:
        """Compile the trunk's pass; its gradient cannot be differentiated again."""
        self._run = torch.compile(self._run, dynamic=False)  # type: ignore[method-assign]

    def features(self, images: torch.Tensor, names: Iterable[str], until: str | None = None) -> dict[str, torch.Tensor]:
        """Outputs of the named layers, and of the last one, by name; one pass through the trunk, or a part of it."""
        last = until or self.last_layer
        return self._run(images, 0, last, {*names, last})

    def until(self, name: str, images: torch.Tensor) -> torch.Tensor:
        """Output of a named layer."""
        return self.trunk[: self.layer_index[name] + 1](images)

    def beyond(self, name: str, feature_map: torch.Tensor, names: Iterable[str] = ()) -> dict[str, torch.Tensor]:
        """From the output of a named layer to those of the layers named behind it, and of the last one."""
        start = self.layer_index[name] + 1
        return {name: feature_map} | self._run(feature_map, start, self.last_layer, {*names, self.last_layer})

    def _run(self, flowing: torch.Tensor, start: int, last: str, names: set[str]) -> dict[str, torch.Tensor]:
        wanted = {self.layer_index[name]: name for name in names}
        outputs = {}
        for index in range(start, self.layer_index[last] + 1):
            flowing = self.trunk[index](flowing)
            if index in wanted:
                outputs[wanted[index]] = flowing
        return outputs

    def last_activation(self, images: torch.Tensor) -> torch.Tensor:
        """Output of the explained layer, [B, K, h, w]."""
        return self.until(self.explained_layer, images)

    def logits_from_activation(self, activation: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] from the output of the explained layer."""
        return self.head(self.beyond(self.explained_layer, activation)[self.last_layer])

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """The convolutions by module name, from input to output."""
        return {name: m for name, m in self.named_modules() if isinstance(m, nn.Conv2d)}

    @abstractmethod
    def filter_groups(self) -> Iterator[tuple[str, FilterGroup]]:
        """The convolutions whose filters can be removed, by name."""

    @abstractmethod
    def structure(self) -> dict[str, Any]:
        """The description that a file needs, in addition to the weights, to build this network again."""
