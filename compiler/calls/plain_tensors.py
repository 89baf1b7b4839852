"""Which tensors are no more than what lies at their address, and who else has to see a call.

Compiled code reads memory. A tensor may be more than that: its sign may be a bit of its own, its
numbers may lie nowhere, a class or a transform may stand for it, a tangent may go along with it.
And a tracer may be writing down what is done to it. Here is told which of these holds; what becomes
of such a call is settled in `backends/differentiable.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

StorageKind = Literal["plain", "unmade", "veiled", "sparse"]
"""Whether a tensor's numbers lie in its memory; do not until they are made, as the negative of
another one's; are known to a class or a transform of torch; or lie there in another layout."""

_OPAQUE_KEYS: Final = (
    torch._C.DispatchKey.Python,
    torch._C.DispatchKey.Functionalize,
    torch._C.DispatchKey.FuncTorchBatched,
    torch._C.DispatchKey.FuncTorchGradWrapper,
)
_storage_kinds: dict[int, StorageKind] = {}


def storage_kind(tensor: Tensor) -> StorageKind:
    """What a tensor is: told from its dispatch keys, by which torch itself goes."""
    keys = torch._C._dispatch_keys(tensor)
    number = keys.raw_repr()
    kind = _storage_kinds.get(number)
    if kind is None:
        here = tensor.device.type in {"cpu", "cuda"}
        if any(keys.has(key) for key in _OPAQUE_KEYS):
            kind = "veiled"
        elif tensor.layout is not torch.strided or tensor.is_nested:
            kind = "sparse"
        elif here and not torch._C._has_storage(tensor):
            kind = "veiled"
        elif tensor.is_neg() or tensor.is_conj() or tensor._is_zerotensor():
            kind = "unmade"
        else:
            kind = "plain"
        _storage_kinds[number] = kind
    return kind


def is_addressable(tensor: Tensor) -> bool:
    """Whether a contiguous tensor is no more than what lies at its address, all of it there."""
    if storage_kind(tensor) != "plain":
        return False
    storage, item = tensor.untyped_storage(), tensor.itemsize
    return storage.nbytes() >= (tensor.storage_offset() + tensor.numel()) * item


def check_dense(argument: str, tensor: Tensor) -> None:
    """Refuse an argument that is not dense, or whose memory is gone.

    Where a tracer looks on, the operator that it sees asks for memory (`check_storage`).

    Raises:
        ValueError: with `argument` the argument is.
    """
    if tensor.layout is not torch.strided or tensor.is_nested:
        got = "a nested tensor" if tensor.is_nested else f"one with layout {tensor.layout}"
        raise ValueError(f"{argument}: expected a dense tensor, got {got}")
    if not torch.compiler.is_compiling() and not has_active_tracer():
        check_storage(argument, tensor)


def check_storage(argument: str, tensor: Tensor) -> None:
    """Refuse a tensor that may be read by its address, and whose memory is gone.

    Raises:
        ValueError: with `argument` the tensor is.
    """
    if tensor.is_contiguous() and is_addressable(tensor):
        return
    if storage_kind(tensor) == "veiled" or not tensor.numel() or not torch._C._has_storage(tensor):
        return
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + reach + 1) * tensor.itemsize
    found = tensor.untyped_storage().nbytes()
    if found < needed:
        raise ValueError(
            f"{argument}: expected a tensor with its numbers in memory, got one whose storage was "
            f"resized to {found} bytes, {needed} being needed"
        )


def materialize(tensor: Tensor) -> Tensor:
    """A tensor's numbers, in memory."""
    match storage_kind(tensor):
        case "unmade":
            return tensor.clone()
        case "sparse":
            return tensor.to_dense()
        case _:
            return tensor


def has_active_tracer() -> bool:
    """Whether a tracer or a mode of torch has to see the operations of a call."""
    return (
        bool(torch._C._len_torch_dispatch_stack())
        or torch._C._get_tracing_state() is not None
        or torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PreDispatch)
    )


def has_functorch_transform() -> bool:
    """Whether a transform of `torch.func` is active."""
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return active is not None and bool(active())


def has_tangents(tensors: Iterable[Tensor]) -> bool:
    """Whether tangents of forward mode go along with some of these."""
    if not is_forward_ad_active():
        return False
    floating = (tensor for tensor in tensors if tensor.is_floating_point())
    return any(
        forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]
        for tensor in floating
    )


def is_forward_ad_active() -> bool:
    """Whether a level of forward mode is open."""
    return forward_ad._current_level >= 0


def concrete_values(tensor: Tensor) -> Tensor | None:
    """The numbers of a tensor as Python may look at them now; None where it must not."""
    if torch.compiler.is_compiling() or tensor.is_meta:
        return None
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return None if has_active_tracer() or storage_kind(tensor) == "veiled" else tensor


def writable_views() -> AbstractContextManager[object]:
    """Where views of results are made: in the end they may be changed in place.

    Torch forbids that of a view that was made without gradients, once gradients are on.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return nullcontext()
    return torch.enable_grad()
