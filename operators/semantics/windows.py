"""Semantics of windows and log-space operations (`primitives.WINDOW_OPS`, `LOG_SPACE_OPS`).

Windows are read row by row: no tensor of T × B × rows × size is built or saved for backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from rnnc.operators.graph.operator_graph import Node

from .segments import Segments

WINDOW_READING_OPS: Final = frozenset({"present", "scores", "matches", "mix", "log_mix"})
"""Operations whose first operand is a window."""

WindowRows = list[tuple[Tensor | None, Tensor]]


def evaluate_window_op(
    node: Node,
    window: Node,
    env: Mapping[int, Tensor | list[Tensor]],
    t: int,
    arguments: Sequence[Tensor],
    segments: Segments,
) -> Tensor:
    """Evaluate a node whose first operand is a window, at step t.

    arguments: values of the other operands.
    """
    variable = window.operands[0].node
    series = env[variable]
    assert isinstance(series, list)
    first, last = (int(a) for a in window.attributes)
    rows = [
        segments.read_window_row(variable, series, t, delay) for delay in range(first, last - 1, -1)
    ]
    present = torch.stack([row_mask for _, row_mask in rows], -1)
    match node.operation:
        case "present":
            return present.to(segments.like.dtype)
        case "scores":
            return _window_dot(rows, arguments[0], present)
        case "matches":
            (symbol,) = arguments
            symbols = _stack_symbols(rows, symbol)
            same = (symbols == symbol.unsqueeze(-1)) & (symbols >= 0)
            return (same & present).to(segments.like.dtype)
        case "mix":
            return _window_sum(rows, arguments[0], present, node.size)
        case _:
            assert node.operation == "log_mix", node.operation
            if len(arguments) > 1:
                present = present & (arguments[1] != 0)
            return _log_window_sum(
                _stack_symbols(rows, arguments[0]), arguments[0], present, node.size
            )


def _has_symbol_rows(rows: WindowRows) -> bool:
    return any(value is not None and not value.is_floating_point() for value, _ in rows)


def _stack_symbols(rows: WindowRows, like: Tensor) -> Tensor:
    """Return (B, rows): the symbols of a window, −1 for none."""
    none = torch.full(rows[0][1].shape, -1, device=like.device)
    return torch.stack([none if value is None else value for value, _ in rows], -1)


def _window_dot(rows: WindowRows, query: Tensor, present: Tensor) -> Tensor:
    zero = query.new_zeros(present.shape)
    if _has_symbol_rows(rows):
        symbols = _stack_symbols(rows, query)
        expanded_query = query.expand(len(symbols), query.shape[-1])
        valid = present & (symbols >= 0)
        return torch.where(valid, expanded_query.gather(-1, symbols.clamp(min=0)), zero)
    zeros = query.new_zeros(len(present))
    products = [zeros if value is None else (value * query).sum(-1) for value, _ in rows]
    return torch.where(present, torch.stack(products, -1), zero)


def _window_sum(rows: WindowRows, weights: Tensor, present: Tensor, size: int) -> Tensor:
    weights = torch.where(present, weights, torch.zeros_like(present, dtype=weights.dtype))
    total = weights.new_zeros(len(present), size)
    if _has_symbol_rows(rows):
        symbols = _stack_symbols(rows, weights)
        valid_weights = torch.where(symbols >= 0, weights, torch.zeros_like(weights))
        return total.scatter_add(-1, symbols.clamp(min=0), valid_weights)
    for (value, _), weight in zip(rows, weights.unbind(-1), strict=True):
        if value is not None:
            total = total + weight.unsqueeze(-1) * value
    return total


def _log_window_sum(symbols: Tensor, logs: Tensor, present: Tensor, size: int) -> Tensor:
    present = present & (symbols >= 0)
    logs = logs.expand(present.shape)
    index = symbols.clamp(min=0)
    minus_infinity = -torch.inf
    # Subtracting each symbol's largest logarithm keeps its sum of exponentials at 1 or above.
    largest = logs.new_full((len(present), size), minus_infinity)
    largest = largest.scatter_reduce(
        -1, index, logs.detach().masked_fill(~present, minus_infinity), "amax"
    )
    largest = torch.where(largest == minus_infinity, torch.zeros_like(largest), largest)
    terms = torch.where(present, logs - largest.gather(-1, index), torch.zeros_like(logs)).exp()
    terms = torch.where(present, terms, torch.zeros_like(terms))
    total = torch.zeros_like(largest).scatter_add(-1, index, terms)
    is_present = total > 0
    value = torch.where(is_present, total, torch.ones_like(total)).log() + largest
    return torch.where(is_present, value, torch.full_like(value, minus_infinity))


def masked_softmax(z: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax of the entries with a mask other than 0; 0 elsewhere and without any."""
    terms, _ = _masked_exponentials(z, mask != 0)
    total = terms.sum(-1, keepdim=True)
    return terms / torch.where(total > 0, total, torch.ones_like(total))


def logsumexp(z: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the logarithm of Σ eᶻ over entries with a mask other than 0, as (…, 1).

    −∞ without such an entry.
    """
    if mask is None:
        return z.logsumexp(-1, keepdim=True)
    terms, largest = _masked_exponentials(z, mask != 0)
    total = terms.sum(-1, keepdim=True)
    is_present = total > 0
    value = torch.where(is_present, total, torch.ones_like(total)).log() + largest
    return torch.where(is_present, value, torch.full_like(value, -torch.inf))


def _masked_exponentials(z: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return e^(z − top) where the mask is true, else 0, and the top, without gradient."""
    z, mask = z + torch.zeros_like(mask, dtype=z.dtype), mask | torch.zeros_like(z).bool()
    largest = z.detach().masked_fill(~mask, -torch.inf).amax(-1, keepdim=True)
    largest = torch.where(largest == -torch.inf, torch.zeros_like(largest), largest)
    terms = torch.where(mask, z - largest, torch.zeros_like(z)).exp()
    return torch.where(mask, terms, torch.zeros_like(terms)), largest
