"""V, the function that is applied to a map: it decides what happens to negative values. A reviewer asked why ReLU."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F

RectifierName = Literal["identity", "relu", "abs"]
Rectifier = Callable[[torch.Tensor], torch.Tensor]

RECTIFIERS: dict[RectifierName, Rectifier] = {"identity": lambda values: values, "relu": F.relu, "abs": torch.abs}
