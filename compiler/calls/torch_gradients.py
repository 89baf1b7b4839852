"""Compute gradients of a call by torch's autograd, through the reference interpreter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnc.operators.semantics.call import Call, CallResult
from rnnc.operators.semantics.interpreter import interpret

from .autocast import disable_autocast
from .flattening import flatten_result


def run_reference(call: Call) -> CallResult:
    """Run a call through the reference interpreter with autocast off."""
    with disable_autocast(device_type(call)):
        return interpret(call)


def reference_gradients(
    call: Call,
    tensors: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    *,
    create_graph: bool,
) -> list[Tensor | None]:
    """Compute gradients of some tensors of a call through the reference.

    cotangents: of the results, as in `flatten_result`.
    create_graph: True makes the gradients differentiable themselves.
    """
    return vjp(
        flatten_result(run_reference(call)),
        tensors,
        cotangents,
        create_graph=create_graph,
        retain_graph=create_graph,
    )


def vjp(
    results: Sequence[Tensor],
    tensors: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
    *,
    create_graph: bool = False,
    retain_graph: bool = True,
) -> list[Tensor | None]:
    """Compute the vector-Jacobian product of recorded results with respect to some tensors.

    cotangents: one a result, None for zero. create_graph: True makes the gradients differentiable.
    retain_graph: True allows another backward pass through the same results.
    """
    pairs = [
        (y, g)
        for y, g in zip(results, cotangents, strict=True)
        if g is not None and y.requires_grad
    ]
    if not pairs:
        return [None] * len(tensors)
    return list(
        torch.autograd.grad(
            [y for y, _ in pairs],
            list(tensors),
            [g for _, g in pairs],
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=True,
        )
    )


def device_type(call: Call) -> str:
    """Return the device type of a call's tensors."""
    for tensors in (call.parameters, call.inputs, call.initial_values):
        for tensor in tensors.values():
            return tensor.device.type
    return "cpu"
