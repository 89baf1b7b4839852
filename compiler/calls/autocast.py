"""Calls inside of `torch.autocast`: in the type that it asks for, their results in the model's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from rnnc.operators.semantics.call import Call, Result


def is_autocast(kind: str) -> bool:
    """Whether autocast is on for a type of device, which need not have it."""
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def without_autocast(kind: str) -> AbstractContextManager[object]:
    """Where autocast changes nothing."""
    return torch.autocast(kind, enabled=False) if is_autocast(kind) else nullcontext()


def autocast_type(like: Tensor) -> torch.dtype | None:
    """The type that autocast asks for on a tensor's device; None where it does not or need not."""
    kind = like.device.type
    if like.dtype != torch.float32 or not is_autocast(kind):
        return None
    return torch.get_autocast_dtype(kind)


def narrowed(call: Call, dtype: torch.dtype) -> Call:
    """A call whose real numbers are of another type, differentiably."""

    def cast(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}

    return replace(
        call,
        parameters=cast(call.parameters),
        inputs=cast(call.inputs),
        history=cast(call.history),
        initial=cast(call.initial),
        drawn=cast(call.drawn),
        masks={k: v.to(dtype) if v.is_floating_point() else v for k, v in call.masks.items()},
    )


def widened(result: Result, dtype: torch.dtype) -> Result:
    """A result in the model's own type, differentiably."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return Result(
        tuple(map(cast, result.outputs)),
        {name: cast(value) for name, value in result.history.items()},
        tuple(map(cast, result.laws)),
        tuple(map(cast, result.kept)),
    )
