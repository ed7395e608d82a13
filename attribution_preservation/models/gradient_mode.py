"""Gradients that do not depend on the mode of the caller: torch.no_grad, torch.inference_mode or autocast."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def explains(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Let an attribution method differentiate whatever its caller has switched off.

    The method runs with gradients on and without autocast, so that its maps are the same under every mode of the
    caller. Its tensors come in without their graph: what it returns needs no gradient. One of them is on the device
    where the method computes.
    """

    @wraps(function)
    def under_its_own_mode(*arguments: Arguments.args, **options: Arguments.kwargs) -> Answer:
        given = [constant(value) for value in arguments]
        named = {name: constant(value) for name, value in options.items()}
        tensors = (value for value in chain(given, named.values()) if isinstance(value, torch.Tensor))
        device = next((tensor.device.type for tensor in tensors), "cpu")
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
            return function(*given, **named)

    return under_its_own_mode


@contextmanager
def differentiable() -> Iterator[None]:
    """Leave inference mode, in which autograd records nothing, and record or not as the caller does."""
    recording = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(recording):
        yield


def constant(value: Any) -> Any:
    """A tensor without its graph, or a network, that autograd may use; anything else as it is.

    Autograd refuses tensors that were made under `torch.inference_mode`: those are copied, as are networks of them.
    """
    with differentiable():
        if isinstance(value, torch.Tensor):
            return value.clone() if value.is_inference() else value.detach()
        if isinstance(value, nn.Module) and made_in_inference_mode(value):
            return copy.deepcopy(value)
    return value


def made_in_inference_mode(network: nn.Module) -> bool:
    """Whether some weight or statistic was made under `torch.inference_mode`, so that autograd refuses it."""
    return any(tensor.is_inference() for tensor in chain(network.parameters(), network.buffers()))
