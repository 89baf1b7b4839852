"""Shift inputs one step for `nll`: a blank starts each segment, the last step is carried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnc.operators.graph.operator_graph import OperatorGraph

from .arguments import inputs_by_name, normalize_input
from .namedtuples import NamedTupleFactory

CARRY_FIELDS = NamedTupleFactory("Carry", ("state", "x"))
"""The carry of `nll`: the model's state, and the last step, which it has not read yet."""


def blank_inputs(graph: OperatorGraph, rows: int, like: Tensor) -> dict[str, Tensor]:
    """Return the blank step of every input: (B, n) of zeros, or (B,) of no symbol (−1)."""
    return {
        variable.name: torch.full((rows,), -1, device=like.device)
        if variable.type.kind == "symbol"
        else like.new_zeros(rows, variable.type.size)
        for variable in graph.inputs
    }


def unpack_carry(
    graph: OperatorGraph, carry: Any, rows: int, like: Tensor
) -> tuple[Any, dict[str, Tensor]]:
    """Check a carry of `nll`; return its state and its last step by input (None: blanks).

    Raises:
        ValueError: if it is no carry, or that of another model or of another B.
    """
    if carry is None:
        return None, blank_inputs(graph, rows, like)
    if not isinstance(carry, tuple) or len(carry) != 2:
        raise ValueError(
            f"carry: expected (state, x) as `nll` gives it, got {type(carry).__name__}"
        )
    state, x = carry
    try:
        tensors = inputs_by_name(graph, x)
        steps = {
            variable.name: normalize_input(variable, tensors[variable.name].unsqueeze(0), like)[0]
            for variable in graph.inputs
        }
    except ValueError as error:
        raise ValueError(f"carry.x, one step: {error}") from None
    for name, step in steps.items():
        if len(step) != rows:
            raise ValueError(f"carry.x: expected {rows} rows of {name}, got {len(step)}")
    return state, steps


def shift_inputs(
    inputs: Mapping[str, Tensor],
    previous: Mapping[str, Tensor],
    lengths: Tensor | None,
    resets: Tensor | None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Shift each input by one step; return the shifted inputs, and the last step of each row.

    Args:
        inputs: (T, B, n), or (T, B) of symbols, by name.
        previous: (B, n) or (B,): the step before the first, kept by rows of length 0.
        lengths: (B,), or None when all rows have T steps.
        resets: (T, B): where a segment begins, and the blank is fed.
    """
    shifted: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    for name, x in inputs.items():
        extended = torch.cat([previous[name].unsqueeze(0), x])
        later = extended[: len(x)]
        if resets is not None:
            blank, is_reset = (-1, resets) if x.dim() == 2 else (0, resets.unsqueeze(-1))
            later = torch.where(is_reset, blank, later)
        shifted[name] = later
        if lengths is None:
            last[name] = extended[-1].clone()  # a view would keep all steps in memory
        else:
            index = lengths.view(1, -1, *(1 for _ in x.shape[2:])).expand(1, *x.shape[1:])
            last[name] = extended.gather(0, index)[0]
    return shifted, last


def check_predicts_input(graph: OperatorGraph) -> None:
    """Raise ValueError if a model predicts no input, and so has no `nll`."""
    if not any(output.predicted_input for output in graph.outputs):
        raise ValueError(
            "this model has no nll: it predicts no input (`x' = …`); `model.loss(y, target)` "
            "scores its outputs"
        )
