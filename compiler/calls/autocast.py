"""Cast calls under `torch.autocast` to its dtype, and results back to the model's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from rnnc.operators.semantics.call import Call, CallResult


def is_autocast_enabled(device_type: str) -> bool:
    """Return True if autocast is on for a device type, which need not support it."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def disable_autocast(device_type: str) -> AbstractContextManager[object]:
    """Return a context in which autocast is off."""
    return (
        torch.autocast(device_type, enabled=False)
        if is_autocast_enabled(device_type)
        else nullcontext()
    )


def autocast_dtype(like: Tensor) -> torch.dtype | None:
    """Return autocast's dtype for a float32 tensor; None for others, or if autocast is off."""
    device_type = like.device.type
    if like.dtype != torch.float32 or not is_autocast_enabled(device_type):
        return None
    return torch.get_autocast_dtype(device_type)


def cast_call(call: Call, dtype: torch.dtype) -> Call:
    """Cast the floating-point tensors of a call to a dtype, differentiably."""

    def cast(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}

    return replace(
        call,
        parameters=cast(call.parameters),
        inputs=cast(call.inputs),
        carry=cast(call.carry),
        initial_values=cast(call.initial_values),
        reset_values=cast(call.reset_values),
        masks={k: v.to(dtype) if v.is_floating_point() else v for k, v in call.masks.items()},
    )


def cast_result(result: CallResult, dtype: torch.dtype) -> CallResult:
    """Cast the floating-point tensors of a result to a dtype, differentiably."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return CallResult(
        tuple(map(cast, result.outputs)),
        {name: cast(value) for name, value in result.carry.items()},
        tuple(map(cast, result.laws)),
        tuple(map(cast, result.loss_inputs)),
    )
