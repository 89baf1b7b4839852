"""Classify the storage of tensors: may compiled code read one by its address?

A tensor may be more than the memory at its address: lazily negated or conjugated, without storage,
a subclass, or wrapped by a transform. `torch_integration/autograd_function.py` decides what becomes
of a call with such a tensor.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from .active_tracers import has_active_tracer

StorageKind = Literal["dense", "lazy", "opaque", "sparse"]
"""Storage of a tensor's values.

dense: in its memory. lazy: computed on access, as the negative of another tensor's. opaque: known
    only to a subclass or transform of torch. sparse: in another layout.
"""

_OPAQUE_KEYS: Final = (
    torch._C.DispatchKey.Python,
    torch._C.DispatchKey.Functionalize,
    torch._C.DispatchKey.FuncTorchBatched,
    torch._C.DispatchKey.FuncTorchGradWrapper,
)
_storage_kinds: dict[int, StorageKind] = {}


def storage_kind(tensor: Tensor) -> StorageKind:
    """Classify a tensor by its dispatch keys, by which torch itself dispatches."""
    keys = torch._C._dispatch_keys(tensor)
    key_bits = keys.raw_repr()
    kind = _storage_kinds.get(key_bits)
    if kind is None:
        has_real_device = tensor.device.type in {"cpu", "cuda"}
        if any(keys.has(key) for key in _OPAQUE_KEYS):
            kind = "opaque"
        elif tensor.layout is not torch.strided or tensor.is_nested:
            kind = "sparse"
        elif has_real_device and not torch._C._has_storage(tensor):
            kind = "opaque"
        elif tensor.is_neg() or tensor.is_conj() or tensor._is_zerotensor():
            kind = "lazy"
        else:
            kind = "dense"
        _storage_kinds[key_bits] = kind
    return kind


def is_addressable(tensor: Tensor) -> bool:
    """Return True if a contiguous tensor is fully described by the memory at its address."""
    if storage_kind(tensor) != "dense":
        return False
    storage, item = tensor.untyped_storage(), tensor.itemsize
    return storage.nbytes() >= (tensor.storage_offset() + tensor.numel()) * item


def check_dense(argument: str, tensor: Tensor) -> None:
    """Check that an argument is dense and its memory allocated.

    Under a tracer the check of memory is left to the custom op (`check_storage`).

    Raises:
        ValueError: with `argument` the argument is.
    """
    if tensor.layout is not torch.strided or tensor.is_nested:
        got = "a nested tensor" if tensor.is_nested else f"one with layout {tensor.layout}"
        raise ValueError(f"{argument}: expected a dense tensor, got {got}")
    if not torch.compiler.is_compiling() and not has_active_tracer():
        check_storage(argument, tensor)


def check_storage(argument: str, tensor: Tensor) -> None:
    """Check that the memory of a tensor, if it may be read by address, is allocated.

    Raises:
        ValueError: with `argument` the tensor is.
    """
    if tensor.is_contiguous() and is_addressable(tensor):
        return
    if storage_kind(tensor) == "opaque" or not tensor.numel() or not torch._C._has_storage(tensor):
        return
    last_offset = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last_offset + 1) * tensor.itemsize
    allocated = tensor.untyped_storage().nbytes()
    if allocated < needed:
        raise ValueError(
            f"{argument}: expected a tensor with its numbers in memory, got one whose storage was "
            f"resized to {allocated} bytes, {needed} being needed"
        )


def materialize(tensor: Tensor) -> Tensor:
    """Materialize a tensor's values in memory."""
    match storage_kind(tensor):
        case "lazy":
            return tensor.clone()
        case "sparse":
            return tensor.to_dense()
        case _:
            return tensor


def concrete_values(tensor: Tensor) -> Tensor | None:
    """Return a tensor whose values Python may read now; None under a tracer."""
    if torch.compiler.is_compiling() or tensor.is_meta:
        return None
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return None if has_active_tracer() or storage_kind(tensor) == "opaque" else tensor
