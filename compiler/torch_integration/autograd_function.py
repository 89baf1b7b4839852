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
    run_call: Callable[[Call], CallResult] = partial(_apply, backend)
    if has_active_tracer() or "opaque" in kinds:
        if operator is None or _is_onnx_export():
            return run_reference(call)
        run_call = operator
    elif "lazy" in kinds:
        call = unflatten(call, keys, [materialize(tensor) for tensor in tensors])
    like = like_of(call)
    dtype = autocast_dtype(like) if backend.supports_autocast else None
    if dtype is not None and not backend.unsupported_reason(like.new_empty(0, dtype=dtype)):
        return cast_result(run_call(cast_call(call, dtype)), like.dtype)
    return run_call(call)


def _apply(backend: Backend, call: Call) -> CallResult:
    keys, tensors = flatten(call)
    wrt: tuple[TensorKey, ...] = ()
    if torch.is_grad_enabled():
        wrt = tuple(k for k, t in zip(keys, tensors, strict=True) if t.requires_grad)
    if wrt:
        context = _CallContext(backend, call, keys, wrt)
        results = _CallFunction.apply(context, *tensors)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            results = _detach_views(forward(backend, call, ())[0], tensors)
    return unflatten_result(call.graph, tuple(call.carry), results, training=call.training)


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
    keys = result_keys(call.graph, tuple(call.carry), training=call.training)
    cotangents_by_key = dict(zip(keys, cotangents, strict=True))
    with disable_autocast(device_type(call)):
        return backend.backward(call, wrt, residuals, cotangents_by_key)


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
        # Each gets an autograd node of its own. Otherwise the gradient of a tensor computed from
        # another one, as an initial value from its parameter, would be counted there as well.
        views = [t.view_as(t) if need else t for t, need in zip(tensors, needs_grad, strict=True)]
        sources = [t for t, need in zip(views, needs_grad, strict=True) if need]
        return reference_gradients(
            unflatten(call, keys, views), sources, cotangents, create_graph=create_graph
        )


def materialize_cotangents(call: Call, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Materialize the cotangents of the results in memory and check their storage."""
    keys = result_keys(call.graph, tuple(call.carry), training=call.training)
    materialized: list[Tensor | None] = []
    for key, cotangent in zip(keys, cotangents, strict=True):
        if cotangent is not None:
            cotangent = materialize(cotangent)
            check_storage(f"gradient of {describe_key(key)}", cotangent)
        materialized.append(cotangent)
    return materialized


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
    def forward(ctx: Any, context: _CallContext, *tensors: Tensor) -> tuple[Tensor, ...]:
        result, residuals = forward(context.backend, context.call, context.wrt)
        # Saved through autograd, which detects in-place changes before the backward pass.
        ctx.save_for_backward(*tensors, *residuals.tensors)
        ctx.context = replace(context, call=unflatten(context.call, (), ()))
        ctx.residuals, ctx.count = replace(residuals, tensors=()), len(tensors)
        ctx.set_materialize_grads(False)
        results = _detach_views(result, (*tensors, *residuals.tensors))
        ctx.mark_non_differentiable(*(t for t in results if not t.is_floating_point()))
        return results

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        context: _CallContext = ctx.context
        # Read once: torch.utils.checkpoint recomputes saved tensors at every access.
        saved_tensors = ctx.saved_tensors
        tensors, residual_tensors = saved_tensors[: ctx.count], saved_tensors[ctx.count :]
        call = unflatten(context.call, context.keys, tensors)
        needs_grad = ctx.needs_input_grad[1:]
        input_gradients: Sequence[Tensor | None]
        create_graph, involved = (
            torch.is_grad_enabled(),
            [*saved_tensors, *(g for g in cotangents if g is not None)],
        )
        if (
            create_graph
            or has_active_tracer()
            or has_tangents(involved)
            or "opaque" in map(storage_kind, involved)
        ):
            input_gradients = traceable_gradients(
                call, context.keys, tensors, needs_grad, cotangents, create_graph=create_graph
            )
        else:
            for key, tensor in zip(context.keys, tensors, strict=True):
                check_storage(describe_key(key), tensor)
            residual_tensors = tuple(materialize(tensor) for tensor in residual_tensors)
            call = unflatten(
                context.call, context.keys, [materialize(tensor) for tensor in tensors]
            )
            residuals = replace(ctx.residuals, tensors=residual_tensors)
            materialized = materialize_cotangents(call, cotangents)
            input_gradients = backward(context.backend, call, context.wrt, residuals, materialized)
        remaining = iter(input_gradients)
        return (None, *(next(remaining) if need else None for need in needs_grad))
