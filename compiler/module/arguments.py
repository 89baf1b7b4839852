"""Check the arguments of a call and normalize their shapes and dtypes before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.calls.autocast import is_autocast_enabled
from rnnc.compiler.calls.tensor_storage import check_dense
from rnnc.compiler.calls.value_checks import check_lengths, check_symbols
from rnnc.operators.graph.operator_graph import Input, OperatorGraph


def inputs_by_name(graph: OperatorGraph, x: Any) -> dict[str, Tensor]:
    """Convert a tensor, tuple or dictionary of inputs to a dictionary in the graph's order.

    Raises:
        ValueError: when it does not name exactly the model's inputs.
    """
    names = [variable.name for variable in graph.inputs]
    if isinstance(x, Tensor):
        x = (x,)
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise ValueError(f"expected inputs named {names}, got {sorted(x)}")
        tensors = [x[name] for name in names]
    elif isinstance(x, Sequence):
        if len(x) != len(names):
            raise ValueError(f"expected {len(names)} inputs {names}, got {len(x)}")
        tensors = list(x)
    else:
        raise ValueError(f"expected a tensor, a tuple or a dictionary, got {type(x).__name__}")
    for name, value in zip(names, tensors, strict=True):
        if not isinstance(value, Tensor):
            raise ValueError(f"input {name}: expected a tensor, got {type(value).__name__}")
        check_dense(f"input {name}", value)
    return dict(zip(names, tensors, strict=True))


def order_by_output(graph: OperatorGraph, argument: str, tensors: Any) -> tuple[Tensor, ...]:
    """Convert tensors for a model's outputs, in any accepted form, to the graph's order.

    Raises:
        ValueError: when it is not one tensor for each output.
    """
    names = [output.name.rstrip("'") for output in graph.outputs]
    if isinstance(tensors, Tensor):
        tensors = (tensors,)
    if isinstance(tensors, Mapping):
        if set(tensors) != set(names):
            raise ValueError(f"{argument}: expected {names}, got {sorted(map(str, tensors))}")
        tensors = tuple(tensors[name] for name in names)
    if not isinstance(tensors, tuple | list) or len(tensors) != len(names):
        got = len(tensors) if isinstance(tensors, tuple | list) else type(tensors).__name__
        raise ValueError(f"{argument}: expected a tensor for each of {names}, got {got}")
    for name, value in zip(names, tensors, strict=True):
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{argument}: expected a tensor for {name}, got {type(value).__name__}"
            )
        check_dense(f"{argument} for {name}", value)
    return tuple(tensors)


def normalize_input(variable: Input, x: Tensor, like: Tensor) -> Tensor:
    """Check one input; return (T, B, n) of the model's dtype, or (T, B) of int64 for symbols.

    Raises:
        ValueError: on a wrong shape, dtype or device, or a symbol out of range.
    """
    name, type_ = variable.name, variable.type
    if x.device != like.device:
        raise ValueError(f"input {name}: expected a tensor on {like.device}, got one on {x.device}")
    if type_.kind == "symbol":
        if x.dim() != 2:
            raise ValueError(f"input {name}: expected (T, B) of symbols, got {tuple(x.shape)}")
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise ValueError(f"input {name}: expected integer symbols, got {x.dtype}")
        check_symbols(f"input {name}", x, type_.size)
        return x.to(torch.int64)
    if x.dim() != 3 or x.shape[-1] != type_.size:
        raise ValueError(f"input {name}: expected (T, B, {type_.size}), got {tuple(x.shape)}")
    if x.dtype == like.dtype:
        return x
    if type_.kind == "binary" and not x.is_floating_point() and not x.is_complex():
        return x.to(like.dtype)
    if is_autocast_enabled(x.device.type) and x.is_floating_point():
        return x.to(like.dtype)
    raise ValueError(f"input {name}: expected {like.dtype}, got {x.dtype}")


def normalize_lengths(lengths: Any, steps: int, rows: int, device: torch.device) -> Tensor | None:
    """Check lengths; return (B,) of int64, or None.

    Raises:
        ValueError: on a wrong shape or dtype, or a length below 0 or beyond T.
    """
    if lengths is None:
        return None
    try:
        lengths = torch.as_tensor(lengths, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        got = type(lengths).__name__
        raise ValueError(f"lengths: expected ({rows},) of integers, got {got}") from None
    if lengths.shape != (rows,):
        raise ValueError(f"lengths: expected ({rows},), got {tuple(lengths.shape)}")
    if rows == 0:
        return torch.as_tensor(lengths, dtype=torch.int64)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths: expected integers, got {lengths.dtype}")
    check_dense("lengths", lengths)
    check_lengths(lengths, steps)
    return torch.as_tensor(lengths, dtype=torch.int64)


def normalize_resets(resets: Any, steps: int, rows: int, device: torch.device) -> Tensor | None:
    """Check resets; return (T, B) of bool, or None.

    Raises:
        ValueError: on a wrong shape, dtype or device.
    """
    if resets is None:
        return None
    if not isinstance(resets, Tensor) or resets.dtype != torch.bool:
        got = resets.dtype if isinstance(resets, Tensor) else type(resets).__name__
        raise ValueError(f"resets: expected a tensor of bool, got {got}")
    if resets.shape != (steps, rows):
        raise ValueError(f"resets: expected ({steps}, {rows}), got {tuple(resets.shape)}")
    if resets.device != device:
        raise ValueError(f"resets: expected a tensor on {device}, got one on {resets.device}")
    check_dense("resets", resets)
    return resets
