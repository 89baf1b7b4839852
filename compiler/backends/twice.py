"""Gradients that can be differentiated again: through the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...operators.call import Call
from ...operators.reference import run

Key = tuple[str, str]
"""A kind (parameter, input, history, initial) and a name."""


def call_with(call: Call, keys: Sequence[Key], tensors: Sequence[Tensor]) -> Call:
    """A call with some of its tensors replaced."""
    parts: dict[str, dict[str, Tensor]] = {
        "parameter": dict(call.parameters),
        "input": dict(call.inputs),
        "history": dict(call.history),
        "initial": dict(call.initial),
    }
    for (kind, name), tensor in zip(keys, tensors, strict=True):
        parts[kind][name] = tensor
    return replace(
        call,
        parameters=parts["parameter"],
        inputs=parts["input"],
        history=parts["history"],
        initial=parts["initial"],
    )


def differentiable_gradients(
    call: Call,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of those tensors of a call that need one, themselves differentiable.

    gradients: those that come in, of the outputs, of the real values carried on, of the laws.
    """
    result = run(call)
    carried = [value for value in result.history.values() if value.is_floating_point()]
    pairs = [
        (y, g)
        for y, g in zip((*result.outputs, *carried, *result.laws), gradients, strict=True)
        if g is not None and y.requires_grad
    ]
    if not pairs:
        return [None] * len(tensors)
    found = iter(
        torch.autograd.grad(
            [y for y, _ in pairs],
            [tensor for tensor, need in zip(tensors, needed, strict=True) if need],
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if need else None for need in needed]
