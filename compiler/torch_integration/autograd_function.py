"""Any backend inside of autograd: its forward pass, and the backward pass that reads what it saved.

Here alone is settled what reads memory: a backend is given tensors that are no more than what lies
at their addresses (`plain.py`). What autograd cannot see into is seen into through the reference:
derivatives of derivatives, tangents, and the transforms of `torch.func`. Tracers, modes and classes
of tensors see one operator of torch, or the reference where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Backend, Saved
from rnnc.compiler.calls.autocast import autocast_type, narrowed, widened, without_autocast
from rnnc.compiler.calls.flattening import (
    Key,
    apart,
    flat_result,
    flatten,
    result_keys,
    result_of,
    told,
    unflatten,
)
from rnnc.compiler.calls.plain_tensors import (
    demand_memory,
    has_tangents,
    is_transformed,
    is_watched,
    kind_of,
    made,
)
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.calls.torch_gradients import _device, _run_reference, differentiable_gradients
from rnnc.operators.semantics.call import Call, Result


def run(backend: Backend, call: Call, operator: Callable[[Call], Result] | None = None) -> Result:
    """Run one call, differentiably.

    operator: runs it as one operator of torch.
    """
    keys, tensors = flatten(call)
    if backend.name == "reference" or is_transformed() or has_tangents(tensors):
        return _run_reference(call)
    kinds = {kind_of(tensor) for tensor in tensors}
    one: Callable[[Call], Result] = partial(_run, backend)
    if is_watched() or "veiled" in kinds:
        if operator is None or _is_for_onnx():
            return _run_reference(call)
        one = operator
    elif "unmade" in kinds:
        call = unflatten(call, keys, [made(tensor) for tensor in tensors])
    like = like_of(call)
    asked = autocast_type(like) if backend.obeys_autocast else None
    if asked is not None and not backend.refuses(like.new_empty(0, dtype=asked)):
        return widened(one(narrowed(call, asked)), like.dtype)
    return one(call)


def _run(backend: Backend, call: Call) -> Result:
    keys, tensors = flatten(call)
    wanted: tuple[Key, ...] = ()
    if torch.is_grad_enabled():
        wanted = tuple(k for k, t in zip(keys, tensors, strict=True) if t.requires_grad)
    if wanted:
        shell = _Shell(backend, call, keys, wanted)
        flat = _Function.apply(shell, *tensors)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            flat = _owned(forward(backend, call, ())[0], tensors)
    return result_of(call.graph, tuple(call.history), flat, training=call.training)


def _owned(result: Result, others: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Results that their owner may change in place: no views, and nobody else's memory."""
    return tuple(t.detach() if t._is_view() else t for t in apart(flat_result(result), others))


def _is_for_onnx() -> bool:
    """Whether torch's exporter to ONNX is tracing, which knows no operators but torch's own."""
    return torch._C._get_tracing_state() is not None and torch.onnx.is_in_onnx_export()


def forward(backend: Backend, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
    """A forward pass in the dtype of the call's tensors, whatever autocast says."""
    with without_autocast(_device(call)):
        return backend.forward(call, wanted)


def backward(
    backend: Backend,
    call: Call,
    wanted: tuple[Key, ...],
    saved: Saved,
    gradients: Sequence[Tensor | None],
) -> Sequence[Tensor | None]:
    """A backward pass in the dtype of the call's tensors; gradients as in `flat_result`."""
    names = result_keys(call.graph, tuple(call.history), training=call.training)
    given = dict(zip(names, gradients, strict=True))
    with without_autocast(_device(call)):
        return backend.backward(call, wanted, saved, given)


def seen_through(
    call: Call,
    keys: Sequence[Key],
    tensors: Sequence[Tensor],
    needed: Sequence[bool],
    gradients: Sequence[Tensor | None],
    *,
    again: bool,
) -> list[Tensor | None]:
    """The gradients of the tensors of a call that need one, through the reference."""
    with torch.enable_grad():
        # Each has a node of its own: what was made of another one, as an initial value is of the
        # parameter that holds it, would else be counted there as well.
        own = [t.view_as(t) if need else t for t, need in zip(tensors, needed, strict=True)]
        sources = [t for t, need in zip(own, needed, strict=True) if need]
        return differentiable_gradients(unflatten(call, keys, own), sources, gradients, again=again)


def in_memory(call: Call, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients of results as numbers in memory."""
    names = result_keys(call.graph, tuple(call.history), training=call.training)
    found: list[Tensor | None] = []
    for key, gradient in zip(names, gradients, strict=True):
        if gradient is not None:
            gradient = made(gradient)
            demand_memory(f"gradient of {told(key)}", gradient)
        found.append(gradient)
    return found


@dataclass(frozen=True, slots=True)
class _Shell:
    """What autograd passes through without looking at it."""

    backend: Backend
    call: Call
    keys: tuple[Key, ...]
    wanted: tuple[Key, ...]


class _Function(torch.autograd.Function):
    """One call of a model."""

    @staticmethod
    def forward(ctx: Any, shell: _Shell, *tensors: Tensor) -> tuple[Tensor, ...]:
        result, saved = forward(shell.backend, shell.call, shell.wanted)
        # The tensors of the call come back from autograd, which sees whether they were changed.
        ctx.save_for_backward(*tensors, *saved.tensors)
        ctx.shell = replace(shell, call=unflatten(shell.call, (), ()))
        ctx.saved, ctx.count = replace(saved, tensors=()), len(tensors)
        ctx.set_materialize_grads(False)
        flat = _owned(result, (*tensors, *saved.tensors))
        ctx.mark_non_differentiable(*(t for t in flat if not t.is_floating_point()))
        return flat

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        shell: _Shell = ctx.shell
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
        if again or is_watched() or has_tangents(seen) or "veiled" in map(kind_of, seen):
            found = seen_through(call, shell.keys, tensors, needed, gradients, again=again)
        else:
            for key, tensor in zip(shell.keys, tensors, strict=True):
                demand_memory(told(key), tensor)
            inner = tuple(made(tensor) for tensor in inner)
            call = unflatten(shell.call, shell.keys, [made(tensor) for tensor in tensors])
            saved = replace(ctx.saved, tensors=inner)
            given = in_memory(call, gradients)
            found = backward(shell.backend, call, shell.wanted, saved, given)
        each = iter(found)
        return (None, *(next(each) if need else None for need in needed))
