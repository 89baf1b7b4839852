"""Detect tracers, modes and transforms of torch that must see the operations of a call."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd import forward_ad


def has_active_tracer() -> bool:
    """Return True if a tracer or dispatch mode has to see the operations of a call."""
    return (
        bool(torch._C._len_torch_dispatch_stack())
        or torch._C._get_tracing_state() is not None
        or torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PreDispatch)
    )


def has_functorch_transform() -> bool:
    """Return True if a transform of `torch.func` is active."""
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return active is not None and bool(active())


def has_tangents(tensors: Iterable[Tensor]) -> bool:
    """Return True if one of the tensors has a forward-mode tangent."""
    if not is_forward_ad_active():
        return False
    floating = (tensor for tensor in tensors if tensor.is_floating_point())
    return any(
        forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]
        for tensor in floating
    )


def is_forward_ad_active() -> bool:
    """Return True inside of a forward-mode AD level."""
    return forward_ad._current_level >= 0


def writable_views() -> AbstractContextManager[object]:
    """Return the context for making views of results that may be changed in place.

    Torch forbids that for a view made without gradients, once gradients are on.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return nullcontext()
    return torch.enable_grad()
