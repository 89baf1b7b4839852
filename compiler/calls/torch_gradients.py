"""Gradients of a call that torch's own autograd takes through the reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnc.operators.semantics.call import Call, Result
from rnnc.operators.semantics.interpreter import run as run_reference

from .autocast import without_autocast
from .flattening import flat_result


def _run_reference(call: Call) -> Result:
    with without_autocast(_device(call)):
        return run_reference(call)


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


def _device(call: Call) -> str:
    for tensors in (call.parameters, call.inputs, call.initial):
        for tensor in tensors.values():
            return tensor.device.type
    return "cpu"
