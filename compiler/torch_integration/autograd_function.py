"""Wrap any backend as a `torch.autograd.Function`.

Backends read memory by address, so this module decides which calls may reach one (see
`calls/tensor_storage.py`). Higher-order derivatives, tangents and `torch.func` transforms are
computed through the reference; tracers, modes and tensor subclasses see one torch operator, or the
reference if there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Backend, Residuals
from rnnc.compiler.calls.active_tracers import (
    has_active_tracer,
    has_functorch_transform,
    has_tangents,
)
from rnnc.compiler.calls.autocast import autocast_dtype, cast_call, cast_result, disable_autocast
from rnnc.compiler.calls.flattening import (
    TensorKey,
    clone_aliased,
    describe_key,
    flatten,
    flatten_result,
    result_keys,
    unflatten,
    unflatten_result,
)
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.calls.tensor_storage import check_storage, materialize, storage_kind
from rnnc.compiler.calls.torch_gradients import device_type, reference_gradients, run_reference
from rnnc.operators.semantics.call import Call, CallResult


def run_with_autograd(
    backend: Backend, call: Call, operator: Callable[[Call], CallResult] | None = None
) -> CallResult:
    """Run one call, differentiably.

    operator: runs it as one operator of torch.
    """
    keys, tensors = flatten(call)
    if backend.name == "reference" or has_functorch_transform() or has_tangents(tensors):
        return run_reference(call)
    kinds = {storage_kind(tensor) for tensor in tensors}
    one: Callable[[Call], CallResult] = partial(_apply, backend)
    if has_active_tracer() or "opaque" in kinds:
        if operator is None or _is_onnx_export():
            return run_reference(call)
        one = operator
    elif "lazy" in kinds:
        call = unflatten(call, keys, [materialize(tensor) for tensor in tensors])
    like = like_of(call)
    asked = autocast_dtype(like) if backend.supports_autocast else None
    if asked is not None and not backend.unsupported_reason(like.new_empty(0, dtype=asked)):
        return cast_result(one(cast_call(call, asked)), like.dtype)
    return one(call)


def _apply(backend: Backend, call: Call) -> CallResult:
    keys, tensors = flatten(call)
    wanted: tuple[TensorKey, ...] = ()
    if torch.is_grad_enabled():
        wanted = tuple(k for k, t in zip(keys, tensors, strict=True) if t.requires_grad)
    if wanted:
        shell = _CallContext(backend, call, keys, wanted)
        flat = _CallFunction.apply(shell, *tensors)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            flat = _detach_views(forward(backend, call, ())[0], tensors)
    return unflatten_result(call.graph, tuple(call.carry), flat, training=call.training)


def _detach_views(result: CallResult, others: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return results that may be changed in place: no views, and no shared memory."""
    return tuple(
        t.detach() if t._is_view() else t for t in clone_aliased(flatten_result(result), others)
    )


def _is_onnx_export() -> bool:
    """Return True if torch's ONNX exporter is tracing; it knows no operators but torch's own."""
    return torch._C._get_tracing_state() is not None and torch.onnx.is_in_onnx_export()


def forward(
    backend: Backend, call: Call, wrt: tuple[TensorKey, ...]
) -> tuple[CallResult, Residuals]:
    """Run a backend's forward pass with autocast off."""
    with disable_autocast(device_type(call)):
        return backend.forward(call, wrt)


def backward(
    backend: Backend,
    call: Call,
    wrt: tuple[TensorKey, ...],
    residuals: Residuals,
    cotangents: Sequence[Tensor | None],
) -> Sequence[Tensor | None]:
    """Run a backend's backward pass with autocast off; cotangents as in `flatten_result`."""
    names = result_keys(call.graph, tuple(call.carry), training=call.training)
    given = dict(zip(names, cotangents, strict=True))
    with disable_autocast(device_type(call)):
        return backend.backward(call, wrt, residuals, given)


def traceable_gradients(
    call: Call,
    keys: Sequence[TensorKey],
    tensors: Sequence[Tensor],
    needs_grad: Sequence[bool],
    cotangents: Sequence[Tensor | None],
    *,
    create_graph: bool,
) -> list[Tensor | None]:
    """Compute the gradients of a call through the reference, for the tensors that need one."""
    with torch.enable_grad():
        # Each has a node of its own: what was made of another one, as an initial value is of the
        # parameter that holds it, would else be counted there as well.
        own = [t.view_as(t) if need else t for t, need in zip(tensors, needs_grad, strict=True)]
        sources = [t for t, need in zip(own, needs_grad, strict=True) if need]
        return reference_gradients(
            unflatten(call, keys, own), sources, cotangents, create_graph=create_graph
        )


def materialize_cotangents(call: Call, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Materialize the cotangents of the results in memory and check their storage."""
    names = result_keys(call.graph, tuple(call.carry), training=call.training)
    found: list[Tensor | None] = []
    for key, gradient in zip(names, cotangents, strict=True):
        if gradient is not None:
            gradient = materialize(gradient)
            check_storage(f"gradient of {describe_key(key)}", gradient)
        found.append(gradient)
    return found


@dataclass(frozen=True, slots=True)
class _CallContext:
    """Non-tensor argument of the autograd function."""

    backend: Backend
    call: Call
    keys: tuple[TensorKey, ...]
    wrt: tuple[TensorKey, ...]


class _CallFunction(torch.autograd.Function):
    """Autograd function that runs one call of a model on one backend."""

    @staticmethod
    def forward(ctx: Any, shell: _CallContext, *tensors: Tensor) -> tuple[Tensor, ...]:
        result, saved = forward(shell.backend, shell.call, shell.wrt)
        # The tensors of the call come back from autograd, which sees whether they were changed.
        ctx.save_for_backward(*tensors, *saved.tensors)
        ctx.shell = replace(shell, call=unflatten(shell.call, (), ()))
        ctx.saved, ctx.count = replace(saved, tensors=()), len(tensors)
        ctx.set_materialize_grads(False)
        flat = _detach_views(result, (*tensors, *saved.tensors))
        ctx.mark_non_differentiable(*(t for t in flat if not t.is_floating_point()))
        return flat

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        shell: _CallContext = ctx.shell
        # Asked for once: torch's checkpoints compute what is asked for again.
        everything = ctx.saved_tensors
        tensors, inner = everything[: ctx.count], everything[ctx.count :]
        call = unflatten(shell.call, shell.keys, tensors)
        needed = ctx.needs_input_grad[1:]
        found: Sequence[Tensor | None]
        again, seen = (
            torch.is_grad_enabled(),
            [*everything, *(g for g in gradients if g is not None)],
        )
        if (
            again
            or has_active_tracer()
            or has_tangents(seen)
            or "opaque" in map(storage_kind, seen)
        ):
            found = traceable_gradients(
                call, shell.keys, tensors, needed, gradients, create_graph=again
            )
        else:
            for key, tensor in zip(shell.keys, tensors, strict=True):
                check_storage(describe_key(key), tensor)
            inner = tuple(materialize(tensor) for tensor in inner)
            call = unflatten(shell.call, shell.keys, [materialize(tensor) for tensor in tensors])
            saved = replace(ctx.saved, tensors=inner)
            given = materialize_cotangents(call, gradients)
            found = backward(shell.backend, call, shell.wrt, saved, given)
        each = iter(found)
        return (None, *(next(each) if need else None for need in needed))
