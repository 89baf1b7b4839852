"""Check the arguments of losses: targets, weights, lengths and reductions."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from rnnc.compiler.calls.tensor_storage import check_dense, concrete_values
from rnnc.compiler.calls.value_checks import check_lengths

LOSS_KINDS: Final = ("binary", "symbol", "real")

REDUCTIONS: Final = ("mean", "sum", "none")


def check_reduction(reduction: Any) -> None:
    """Raise ValueError for an unknown reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")


def check_range(kind: str, target: Tensor, size: int) -> None:
    """Raise ValueError if a target is out of its type's range; real targets have none."""
    values = None if kind == "real" or target.dtype == torch.bool else concrete_values(target)
    if values is None or not values.numel():
        return
    low, high = values.min().item(), values.max().item()
    if kind == "symbol" and not 0 <= low <= high < size:
        raise ValueError(f"expected symbols in 0..{size - 1}, got {low}..{high}")
    # Not `low < 0 or high > 1`, which is false for NaN.
    if kind == "binary" and not 0 <= low <= high <= 1:
        raise ValueError(f"expected a binary target in 0..1, got {low:g}..{high:g}")


def check_target(kind: str, target: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError if a target has another shape or dtype than its type asks for.

    shape: (…, m), of the output.
    """
    expected = shape[:-1] if kind == "symbol" else shape
    if tuple(target.shape) != expected:
        raise ValueError(f"expected a {kind} target of shape {expected}, got {tuple(target.shape)}")
    if kind == "symbol" and (target.is_floating_point() or target.dtype == torch.bool):
        raise ValueError(f"expected a symbol target of integers, got {_describe(target)}")
    if target.is_complex():
        raise ValueError(f"expected a {kind} target of real numbers, got {_describe(target)}")


def check_loss_arguments(kind: str, y: Tensor, target: Tensor) -> None:
    """Raise ValueError for an unknown kind, or shapes and dtypes that do not belong together."""
    if kind not in LOSS_KINDS:
        raise ValueError(f"expected a kind among {', '.join(LOSS_KINDS)}, got {kind!r}")
    for name, value in (("y", y), ("target", target)):
        if not isinstance(value, Tensor):
            raise ValueError(f"expected {name} to be a tensor, got {type(value).__name__}")
    if y.dim() not in (2, 3) or not y.is_floating_point():
        raise ValueError(
            f"expected y of floating-point numbers, (T, B, m) or (B, m), got {_describe(y)}"
        )
    check_target(kind, target, tuple(y.shape))


def check_row_lengths(y: Tensor, lengths: Tensor) -> None:
    """Raise ValueError if lengths are not (B,) of integers in 0..T, y being (T, B, m)."""
    if lengths.shape != y.shape[1:2] or lengths.is_floating_point() or lengths.is_complex():
        raise ValueError(f"expected lengths ({y.shape[1]},) of integers, got {_describe(lengths)}")
    check_dense("lengths", lengths)
    check_lengths(lengths, y.shape[0])


def normalize_weight(weight: Any, y: Tensor, scored: Tensor | None) -> Tensor:
    """Check weights; return them in y's dtype or float32, 0 at steps that are not scored."""
    shape = tuple(y.shape[:-1])
    if not isinstance(weight, Tensor) or tuple(weight.shape) != shape or weight.is_complex():
        got = _describe(weight) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"weight: expected real numbers of shape {shape}, got {got}")
    if weight.device != y.device:
        raise ValueError(f"weight: expected a tensor on {y.device}, got one on {weight.device}")
    check_dense("weight", weight)
    checked: Tensor = weight.to(torch.promote_types(y.dtype, torch.float32))
    if scored is not None:
        checked = torch.where(scored, checked, 0)
    values = concrete_values(checked)
    if values is not None and values.numel():
        low, high = values.min().item(), values.max().item()
        if not 0 <= low <= high < float("inf"):
            raise ValueError(f"weight: expected finite numbers from 0 up, got {low:g}..{high:g}")
    return checked


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
