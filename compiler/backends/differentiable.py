"""Any backend inside of autograd: its forward pass, and the backward pass that reads what it saved.

What autograd cannot see into is seen into through the reference: derivatives of derivatives, and
the transforms of `torch.func`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...operators.call import Call, Result
from ...operators.reference import run as run_reference
from .autocast import autocast_type, narrowed, widened
from .backend import Backend, Saved
from .boundaries import like_of
from .flat import Key, flat_result, flatten, result_keys, result_of, unflatten


def run(backend: Backend, call: Call) -> Result:
    """Run one call, differentiably."""
    if backend.name == "reference" or is_transformed():
        return _run_reference(call)
    like = like_of(call)
    asked = autocast_type(like) if backend.obeys_autocast else None
    if asked is not None and not backend.refuses(like.new_empty(0, dtype=asked)):
        return widened(_run(backend, narrowed(call, asked)), like.dtype)
    return _run(backend, call)


def _run(backend: Backend, call: Call) -> Result:
    keys, tensors = flatten(call)
    wanted: tuple[Key, ...] = ()
    if torch.is_grad_enabled():
        wanted = tuple(k for k, t in zip(keys, tensors, strict=True) if t.requires_grad)
    if not wanted:
        if not torch.is_grad_enabled():
            return forward(backend, call, ())[0]
        with torch.no_grad():
            return forward(backend, call, ())[0]
    shell = _Shell(backend, call, keys, wanted)
    flat = _Function.apply(shell, *tensors)  # type: ignore[no-untyped-call]
    return result_of(call.graph, tuple(call.history), flat, training=call.training)


def _run_reference(call: Call) -> Result:
    with torch.autocast(_device(call), enabled=False):
        return run_reference(call)


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is active, which this function cannot take part in."""
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return active is not None and bool(active())


def forward(backend: Backend, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
    """A forward pass in the dtype of the call's tensors, whatever autocast says."""
    device = _device(call)
    if not torch.is_autocast_enabled(device):
        return backend.forward(call, wanted)
    with torch.autocast(device, enabled=False):
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
    with torch.autocast(_device(call), enabled=False):
        return backend.backward(call, wanted, saved, given)


def differentiable_gradients(
    call: Call,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    again: bool,
) -> list[Tensor | None]:
    """The gradients of some tensors of a call through the reference.

    gradients: those that come in, as in `flat_result`.
    again: whether the gradients are differentiable, too.
    """
    return pulled(flat_result(_run_reference(call)), tensors, gradients, again=again, keep=again)


def pulled(
    results: Sequence[Tensor],
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    again: bool = False,
    keep: bool = True,
) -> list[Tensor | None]:
    """The gradients of some tensors that results were recorded from.

    gradients: those that come in, one a result. again: whether these are differentiable, too.
    keep: whether the results can be gone back from once more.
    """
    pairs = [
        (y, g) for y, g in zip(results, gradients, strict=True) if g is not None and y.requires_grad
    ]
    if not pairs:
        return [None] * len(tensors)
    return list(
        torch.autograd.grad(
            [y for y, _ in pairs],
            list(tensors),
            [g for _, g in pairs],
            retain_graph=keep,
            create_graph=again,
            allow_unused=True,
        )
    )


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
        flat = flat_result(result)
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
        if torch.is_grad_enabled():
            sources = [t for t, need in zip(tensors, needed, strict=True) if need]
            found = differentiable_gradients(call, sources, gradients, again=True)
        else:
            saved = replace(ctx.saved, tensors=inner)
            found = backward(shell.backend, call, shell.wanted, saved, gradients)
        each = iter(found)
        return (None, *(next(each) if need else None for need in needed))


def _device(call: Call) -> str:
    for tensors in (call.parameters, call.inputs, call.initial):
        for tensor in tensors.values():
            return tensor.device.type
    return "cpu"
