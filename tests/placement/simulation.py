"""A GPU that is not there: its tensors lie on the CPU and say that they do not.

Every storage has a tag, `cpu` or `cuda`. What a real GPU refuses is refused: tensors of both in one operation, NumPy's
view of a GPU's memory. And every point where the CPU waits for the GPU is counted, with the lines that led there.

Two modes of torch see to it. The one of functions sees Python's calls, with the devices that they name, before torch
runs them on the CPU; the one of operations sees what they come down to, autograd's backward passes as well. What torch
makes for itself, inside a call, lies where the call's tensors lie.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
_DEVICE, _IS_CUDA = torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__
# By address, which no other storage gets while a weak reference to it is held. What has a tag keeps it: `copy.deepcopy`
# lets an empty tensor of the CPU look at a storage.
_tags: dict[int, tuple[StorageWeakRef, str]] = {}
_COPIES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda, torch.Tensor.type}
_TO_PYTHON = {torch.Tensor.tolist, torch.Tensor.__array__, torch.Tensor.numpy}
_ATEN = torch.ops.aten
# Operations whose result has a size, or a value, that the CPU must know before it goes on.
_WAITING = {
    _ATEN._local_scalar_dense.default, _ATEN.nonzero.default, _ATEN.masked_select.default, _ATEN.equal.default,
    _ATEN.is_nonzero.default, _ATEN._unique2.default, _ATEN.unique_dim.default, _ATEN.unique_consecutive.default,
    _ATEN.repeat_interleave.Tensor,
}  # fmt: skip
_INDEXED = {
    _ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default, _ATEN._index_put_impl_.default,
    _ATEN._unsafe_index.Tensor,
}  # fmt: skip
_COPYING = {_ATEN.copy_.default, _ATEN._to_copy.default, _ATEN.set_.source_Tensor}


class Mixed(RuntimeError):
    """Tensors of two devices where a GPU takes those of one."""


class Simulation:
    """What was seen while the GPU was simulated.

    Attributes:
        waits: where the CPU waited for the GPU: the operation, and the lines of the project that led to it.
        operations: how many ran on the GPU.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.operations = 0
        self.inside: list[str] = []

    def wait(self, what: str) -> None:
        """Note that the CPU waits here."""
        frame, lines = sys._getframe(1), []
        while frame is not None and len(lines) < 4:
            name = frame.f_code.co_filename
            if "attribution_preservation/" in name or "/stages/" in name:
                lines.append(f"{name.rpartition('/')[2]}:{frame.f_lineno}")
            frame = frame.f_back
        self.waits.append(" < ".join([what, *lines]))


@contextlib.contextmanager
def simulated_gpu() -> Iterator[Simulation]:
    """Within it `cuda` is a device."""
    simulation = Simulation()
    with _Operations(simulation), _Functions(simulation):
        try:
            yield simulation
        finally:
            _tags.clear()


def place(tensor: torch.Tensor) -> str:
    """The tag of a tensor: cpu, cuda or pinned, which is the CPU's memory that a GPU copies from by itself."""
    if tensor.device.type == "meta" or not hasattr(tensor, "untyped_storage"):
        return "meta"
    return _tags[storage._cdata][1] if (storage := tensor.untyped_storage())._cdata in _tags else "cpu"


def put(value: Any, tag: str) -> Any:
    """Tag all tensors in a value."""
    for tensor in _tensors(value):
        if tensor.device.type != "meta":
            storage = tensor.untyped_storage()
            _tags[storage._cdata] = StorageWeakRef(storage), tag
    return value


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, torch.Tensor)]


def _of_gpu(device: Any) -> bool:
    return device is not None and str(device).startswith("cuda")


class _Functions(TorchFunctionMode):
    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function == _DEVICE:
            device = function(*args)
            return CUDA if device.type == "cpu" and place(args[0]) == "cuda" else device
        if function == _IS_CUDA:
            return place(args[0]) == "cuda"
        if function is torch.Tensor.is_pinned:
            return place(args[0]) == "pinned"
        if function is torch.Tensor.pin_memory:
            return put(args[0].clone(), "pinned")
        if function in _COPIES:
            return self._copy(function, args, kwargs)
        if function in _TO_PYTHON and place(args[0]) == "cuda":
            if function is not torch.Tensor.tolist:
                raise Mixed("NumPy cannot look into a GPU's memory")
            self._simulation.wait("tolist")
            return function(*args, **kwargs)
        if function is torch.Tensor.__deepcopy__:
            # It copies the storage of a buffer below every operation.
            return put(function(*args, **kwargs), "cuda") if place(args[0]) == "cuda" else function(*args, **kwargs)
        return self._run(function, args, kwargs)

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        device = kwargs.get("device")
        where = {place(tensor) for tensor in _tensors((args, kwargs))}
        inside = "cuda" if "cuda" in where else "cpu"
        if _of_gpu(device):
            kwargs, inside = kwargs | {"device": "cpu"}, "cuda"
            if function in (torch.tensor, torch.as_tensor, torch.asarray):
                self._simulation.wait(function.__name__)
        elif device is not None:
            inside = "cpu"
        self._simulation.inside.append(inside)
        try:
            return function(*args, **kwargs)
        finally:
            self._simulation.inside.pop()

    def _copy(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        source, before = args[0], place(args[0])
        goal, kind, held_back, order = _conversion(function, args[1:], kwargs)
        goal = goal or before
        if goal == "meta":
            return function(*args, **kwargs)
        moved = (before == "cuda") != (goal == "cuda")
        if moved and (before == "cpu" or not held_back):
            self._simulation.wait(f"{before} to {goal}")
        inside = "cuda" if goal == "cuda" else "cpu"
        self._simulation.inside.append(inside)
        try:
            options = {} if order is None else {"memory_format": order}
            # Of what moves there is a copy, even where on the CPU nothing changes.
            copied = torch.Tensor.to(source, dtype=kind or source.dtype, copy=moved, **options)
            return put(copied, inside) if moved else copied
        finally:
            self._simulation.inside.pop()


def _conversion(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str | None, torch.dtype | None, bool, torch.memory_format | None]:
    """Of `Tensor.to` and its like: the tag of the device, the type, whether nothing waits, the memory order."""
    if function is torch.Tensor.cuda:
        return "cuda", None, bool(kwargs.get("non_blocking")), kwargs.get("memory_format")
    if function is torch.Tensor.cpu:
        return "cpu", None, False, kwargs.get("memory_format")
    like = args[0] if args and isinstance(args[0], torch.Tensor) else kwargs.get("other")
    device, kind, held_back, order = torch._C._nn._parse_to(*args, **{k: v for k, v in kwargs.items() if k != "copy"})
    if like is not None:
        return place(like), like.dtype, held_back, order
    return None if device is None else "cuda" if _of_gpu(device) else device.type, kind, held_back, order


class _Operations(TorchDispatchMode):
    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        places = [place(tensor) for tensor in given]
        on_gpu = "cuda" in places
        known = {tensor.untyped_storage()._cdata for tensor in given if tensor.device.type != "meta"}
        if on_gpu:
            self._look(operation, args, given, places)
        result = operation(*args, **kwargs)
        inside = self._simulation.inside[-1] if self._simulation.inside else "cpu"
        tag = "cuda" if on_gpu or (inside == "cuda" and not given) else "cpu"
        if operation is _ATEN._to_copy.default and given:
            tag = inside if self._simulation.inside else places[0]
        for tensor in _tensors(result):
            if tensor.device.type != "meta" and tensor.untyped_storage()._cdata not in known | _tags.keys():
                put(tensor, tag)
        return result

    def _look(self, operation: Any, args: tuple[Any, ...], given: list[torch.Tensor], places: list[str]) -> None:
        self._simulation.operations += 1
        name = str(operation)
        if operation in _WAITING:
            self._simulation.wait(name)
        if operation in _INDEXED:
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                self._simulation.wait(f"{name} by a mask")
            elif any(place(index) != "cuda" for index in indices) and place(args[0]) == "cuda":
                self._simulation.wait(f"{name} by places on the CPU")
            return
        if operation in _COPYING:
            if operation is _ATEN.copy_.default and len(set(places)) > 1:
                self._simulation.wait(name)
            return
        lists = any(isinstance(value, list | tuple) for value in args)
        for tensor, of_tensor in zip(given, places, strict=True):
            changed = operation._schema.is_mutable and tensor is given[0]
            # A number may come as a tensor of the CPU without dimensions.
            number = tensor.dim() == 0 and not lists and not changed
            if of_tensor not in ("cuda", "meta") and not number:
                shapes = ", ".join(f"{tuple(t.shape)} of {p}" for t, p in zip(given, places, strict=True))
                raise Mixed(f"{name} of {shapes}")
