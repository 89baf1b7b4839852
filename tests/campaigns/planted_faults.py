"""Fault injection: plant one known bug at a time, to measure the searches.

The second oracle finds those in the reference, the reference those in the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from campaigns.engines import describe_failure, search_environment
from rnnc.compiler.autodiff import vjp_rules
from rnnc.compiler.autodiff.reverse_mode import _ReverseMode
from rnnc.compiler.backends.aten import batched_phase, op_table
from rnnc.compiler.ir.dataflow import Operand
from rnnc.operators.semantics import interpreter
from rnnc.operators.semantics.call import Call
from rnnc.operators.semantics.segments import Segments
from support.generator import random_spec
from support.generator.calls import random_call

Patch = pytest.MonkeyPatch


def _wrong_derivative(patch: Patch) -> None:
    """Drop the square in the derivative of softsign."""

    def rule(m: Any, y: Any, operands: Any, g: Any, attributes: Any) -> Any:
        return (m.create("multiply", g, m.create("one_minus", m.create("abs", y))),)

    patch.setitem(vjp_rules.VJP_RULES, "softsign", rule)


def _dropped_delay(patch: Patch) -> None:
    """Read the operand of a derivative at the wrong step."""

    def ahead(self: _ReverseMode, value: Operand, steps: int) -> Operand:
        return Operand(value.value)

    patch.setattr(_ReverseMode, "shift", ahead)


def _rows_times_too_large(patch: Patch) -> None:
    """Multiply gradients of values without rows by the number of rows."""
    original = batched_phase.reduce_over_steps

    def too_large(value: Any, operands: list[Tensor], memory: Any) -> Tensor:
        gradient = original(value, operands, memory)
        is_row_free = any(operand.dim() < 3 and operand.is_floating_point() for operand in operands)
        return gradient * memory.call.batch_size if is_row_free else gradient

    patch.setattr(batched_phase, "reduce_over_steps", too_large)


def _memory_read_before_it_is_written(patch: Patch) -> None:
    """Leave the last entry of a sine unwritten."""

    def sine(z: Tensor, out: Tensor) -> Tensor:
        out[..., : max(1, out.shape[-1] - 1)] = z.sin()[..., : max(1, out.shape[-1] - 1)]
        return out

    patch.setitem(op_table.ELEMENTWISE_FUNCTIONS, "sin", sine)


def _lost_initial_gradient(patch: Patch) -> None:
    """Drop the gradients of initial states."""
    original = batched_phase.BOUNDARY_GRADIENTS["to_initial"]
    patch.setitem(
        batched_phase.BOUNDARY_GRADIENTS,
        "to_initial",
        lambda value, memory: torch.zeros_like(original(value, memory)),
    )


def _resets_ignored_in_one_step(patch: Patch) -> None:
    """Ignore resets in calls of one step."""
    original = Segments.__init__

    def without(self: Segments, call: Call) -> None:
        original(self, replace(call, resets=None) if call.steps == 1 else call)

    patch.setattr(Segments, "__init__", without)


def _padding_leaks(patch: Patch) -> None:
    """Take outputs at the end from the longest row's end."""

    def last(self: Segments, series: Tensor) -> Tensor:
        return (
            series[-1]
            if self.call.steps
            else series.new_zeros(self.call.batch_size, series.shape[-1])
        )

    patch.setattr(Segments, "last_step", last)


def _ragged_state_from_longest_row(patch: Patch) -> None:
    """Take the final state of a ragged call from the longest row's end."""
    original = Segments.next_carry

    def history_after(self: Segments, node: int, series: list[Tensor]) -> Tensor:
        original_lengths = self.lengths
        self.lengths = torch.full_like(original_lengths, self.call.steps)
        try:
            return original(self, node, series)
        finally:
            self.lengths = original_lengths

    patch.setattr(Segments, "next_carry", history_after)


def _no_symbol_is_the_first(patch: Patch) -> None:
    """Look up −1 as 0."""
    original = interpreter.lookup_symbol

    def look_up(weight: Tensor, symbol: Tensor, *, transposed: bool) -> Tensor:
        return original(weight, symbol.clamp(min=0), transposed=transposed)

    patch.setattr(interpreter, "lookup_symbol", look_up)


def _swapped_operands(patch: Patch) -> None:
    """Swap old and new value of zoneout in evaluation."""

    def zoneout(node: Any, call: Call, t: int | None, values: list[Tensor]) -> Tensor:
        new, old = values
        p, mask = float(node.attributes[0]), call.masks.get(node.number)
        return p * new + (1 - p) * old if mask is None else torch.where(mask[t], new, old)

    patch.setattr(interpreter, "_zoneout", zoneout)


FAULTS: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "wrong derivative": ("aten", _wrong_derivative),
    "dropped delay": ("aten", _dropped_delay),
    "rows times too large": ("aten", _rows_times_too_large),
    "memory read before it is written": ("aten", _memory_read_before_it_is_written),
    "lost initial gradient": ("aten", _lost_initial_gradient),
    "resets ignored in one step": ("oracle", _resets_ignored_in_one_step),
    "padding leaks": ("oracle", _padding_leaks),
    "not held past a row's end": ("oracle", _ragged_state_from_longest_row),
    "no symbol is the first": ("oracle", _no_symbol_is_the_first),
    "swapped operands": ("oracle", _swapped_operands),
}
"""By name: the backend whose search should find the fault, and the patch."""


@contextmanager
def plant_fault(name: str) -> Iterator[None]:
    """Apply a fault."""
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[name][1](patch)
        yield


def specs_until_found(name: str, first: int, most: int = 1000) -> int | None:
    """Count the specs that a search needs to find a fault; None if it does not.

    Failures that occur without the fault are not counted.
    """
    backend = FAULTS[name][0]
    with search_environment(backend, ""):
        for seed in range(first, first + most):
            spec, call = random_spec(seed), random_call(seed)
            with plant_fault(name):
                failed = describe_failure(backend, spec.text, spec.sizes, call)
            if failed and not describe_failure(backend, spec.text, spec.sizes, call):
                return seed - first + 1
    return None
