"""Checks of the numbers inside of arguments, made where they can be read."""

from __future__ import annotations

from torch import Tensor

from rnnc.operators.semantics.call import Call

from .plain_tensors import readable


def demand_symbols(what: str, symbols: Tensor, size: int) -> None:
    """Raise ValueError where a symbol is neither one of an alphabet nor none (−1).

    Where a tracer must not look, the operator that it sees will (`demand_values`).
    """
    numbers = readable(symbols)
    if numbers is None or not numbers.numel():
        return
    low, high = int(numbers.min()), int(numbers.max())
    if low < -1 or high >= size:
        raise ValueError(
            f"{what}: expected symbols from 0 to {size - 1} (or −1 for none), "
            f"got {low if low < -1 else high}"
        )


def demand_lengths(lengths: Tensor, steps: int) -> None:
    """Raise ValueError where a length is below 0 or beyond T; as `demand_symbols`."""
    numbers = readable(lengths)
    if numbers is None or not numbers.numel():
        return
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > steps:
        raise ValueError(
            f"lengths: expected values from 0 to {steps}, got {low if low < 0 else high}"
        )


def demand_values(call: Call) -> None:
    """Of a call that `torch.compile` has traced, check what only the numbers can tell.

    Raises:
        ValueError: for a symbol out of range, or a length below 0 or beyond T.
    """
    for variable in call.graph.inputs:
        if variable.type.kind == "symbol":
            name, size = variable.name, variable.type.size
            demand_symbols(f"input {name}", call.inputs[name], size)
            if name in call.history:
                demand_symbols(f"state.{name}", call.history[name], size)
    if call.lengths is not None and call.rows:
        demand_lengths(call.lengths, call.steps)
