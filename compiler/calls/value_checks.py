"""Check the values of symbols and lengths, where no tracer forbids reading them."""

from __future__ import annotations

from torch import Tensor

from rnnc.operators.semantics.call import Call

from .tensor_storage import concrete_values


def check_symbols(argument: str, symbols: Tensor, size: int) -> None:
    """Raise ValueError if a symbol is neither in its alphabet nor −1 (none).

    Under a tracer the check is left to the custom op (`check_values`).
    """
    numbers = concrete_values(symbols)
    if numbers is None or not numbers.numel():
        return
    low, high = int(numbers.min()), int(numbers.max())
    if low < -1 or high >= size:
        raise ValueError(
            f"{argument}: expected symbols from 0 to {size - 1} (or −1 for none), "
            f"got {low if low < -1 else high}"
        )


def check_lengths(lengths: Tensor, steps: int) -> None:
    """Raise ValueError if a length is below 0 or beyond T; as `check_symbols`."""
    numbers = concrete_values(lengths)
    if numbers is None or not numbers.numel():
        return
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > steps:
        raise ValueError(
            f"lengths: expected values from 0 to {steps}, got {low if low < 0 else high}"
        )


def check_values(call: Call) -> None:
    """Check the values of a call that was traced by `torch.compile`.

    Raises:
        ValueError: for a symbol out of range, or a length below 0 or beyond T.
    """
    for variable in call.graph.inputs:
        if variable.type.kind == "symbol":
            name, size = variable.name, variable.type.size
            check_symbols(f"input {name}", call.inputs[name], size)
            if name in call.carry:
                check_symbols(f"state.{name}", call.carry[name], size)
    if call.lengths is not None and call.batch_size:
        check_lengths(call.lengths, call.steps)
