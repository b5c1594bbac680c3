"""A device that is not the CPU, on any machine: tensors that say they are elsewhere, and meet no tensor that is not.

A :class:`Far` tensor reports the device ``meta`` and computes with a CPU tensor inside. Within :class:`FarDevice`, what
is created with ``device=`` that of a far tensor is far as well. A near tensor with dimensions in the same operation is
an error, as it would be on a GPU; only as an index is it allowed, as there. Every operation of this package that makes
the host wait for the device is counted; what torchvision does inside its own functions differs by version.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import gains

INDEXING = ("aten.index.", "aten.index_put", "aten._index_put_impl_", "aten._unsafe_index")
WAITING = ("aten._local_scalar_dense.", "aten.nonzero.", "aten.masked_select.", "aten.equal.", "aten.bincount.")
DEVICE = torch.device("meta")
waits: list[str] = []
"""Where in this package, since the last ``waits.clear()``, a GPU would have to finish its queue first."""
PACKAGE = str(Path(gains.__file__).parent)
LIBRARY = f"{Path(torch.__file__).parent}/"


class Far(Tensor):
    inner: Tensor  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(cls, inner: Tensor) -> "Far":
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        far: Far = Tensor._make_wrapper_subclass(cls, inner.size(), device=DEVICE, **layout)  # type: ignore[arg-type]
        far.inner = inner
        return far

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return compute(func, args, kwargs or {})

    def new_tensor(self, data: Any, **_: Any) -> "Far":  # type: ignore[override]
        return Far(near_only(torch.tensor)(data, dtype=self.dtype))

    def tolist(self) -> Any:
        return self.cpu().tolist()


def near_only(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A factory of plain tensors that the dispatcher below does not see."""

    def plain(*args: Any, **kwargs: Any) -> Tensor:
        with torch._C._DisableTorchDispatch():
            return make(*args, **kwargs)

    return plain


def note_wait(name: str) -> None:
    """Keep an operation if the code that asked for it, torch's own left out, is in this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((LIBRARY, __file__)):
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(PACKAGE):
        waits.append(f"{name} in {Path(frame.f_code.co_filename).relative_to(PACKAGE)}:{frame.f_lineno}")


def compute(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on what is inside, after a check that all of it is in one place."""
    name, tensors = str(func), [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    near = [tensor for tensor in tensors if not isinstance(tensor, Far) and tensor.dim()]
    asked = kwargs.get("device")
    leaves = asked is not None and torch.device(asked) != DEVICE and bool(far)
    if name.startswith(INDEXING) and isinstance(args[0], Far):
        near = [tensor for tensor in near if tensor.is_floating_point()]
        if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]):
            note_wait(name)
    if leaves or (far and name.startswith(WAITING)):
        note_wait(name)
    if far and near and not name.startswith(("aten.copy_", "aten._to_copy")):
        raise RuntimeError(f"{name} meets tensors of two devices: {[tuple(tensor.shape) for tensor in tensors]}")

    def unwrap(leaf: Any) -> Any:
        if isinstance(leaf, torch.device) and leaf == DEVICE:
            return torch.device("cpu")
        return leaf.inner if isinstance(leaf, Far) else leaf

    result = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    if leaves or not (far or (asked is not None and torch.device(asked) == DEVICE)):
        return result
    changed = {id(tensor.inner): tensor for tensor in far}  # what an operation in place gives back

    def wrap(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return changed[id(leaf)] if id(leaf) in changed else Far(leaf)

    return tree_map(wrap, result)


class FarDevice(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


@contextlib.contextmanager
def far_device(monkeypatch: Any) -> Iterator[None]:
    """Within, far tensors can be made from Python numbers too; autocast, which does not know the device, is off."""

    def placed(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def place(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
            if isinstance(data, Far) or device is None or torch.device(device) != DEVICE:
                return make(data, *args, **kwargs) if device is None else make(data, *args, device=device, **kwargs)
            return Far(near_only(make)(data, *args, **kwargs))

        return place

    monkeypatch.setattr(torch, "tensor", placed(torch.tensor))
    monkeypatch.setattr(torch, "as_tensor", placed(torch.as_tensor))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    waits.clear()
    with FarDevice():  # type: ignore[no-untyped-call]
        yield


def send(module: nn.Module) -> None:
    """Move a module's parameters and buffers there."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(Far(parameter.data), requires_grad=parameter.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, Far(buffer))
