"""Faults as they are made, planted one at a time: what a search is worth is which of them it finds.

Those in the reference are found by the second oracle, those in the compiler by the reference.
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
    """The derivative of softsign without its square."""

    def rule(m: Any, y: Any, operands: Any, g: Any, attributes: Any) -> Any:
        return (m.create("multiply", g, m.create("one_minus", m.create("abs", y))),)

    patch.setitem(vjp_rules.VJP_RULES, "softsign", rule)


def _dropped_delay(patch: Patch) -> None:
    """What a derivative reads again is read at the wrong step."""

    def ahead(self: _ReverseMode, value: Operand, steps: int) -> Operand:
        return Operand(value.value)

    patch.setattr(_ReverseMode, "shift", ahead)


def _rows_times_too_large(patch: Patch) -> None:
    """The gradient of what has no rows, once for each row."""
    summed = batched_phase.reduce_over_steps

    def too_large(value: Any, operands: list[Tensor], memory: Any) -> Tensor:
        found = summed(value, operands, memory)
        alone = any(operand.dim() < 3 and operand.is_floating_point() for operand in operands)
        return found * memory.call.rows if alone else found

    patch.setattr(batched_phase, "reduce_over_steps", too_large)


def _memory_read_before_it_is_written(patch: Patch) -> None:
    """The last entry of a sine is left as it lay in memory."""

    def sine(z: Tensor, out: Tensor) -> Tensor:
        out[..., : max(1, out.shape[-1] - 1)] = z.sin()[..., : max(1, out.shape[-1] - 1)]
        return out

    patch.setitem(op_table.ELEMENTWISE_FUNCTIONS, "sin", sine)


def _lost_initial_gradient(patch: Patch) -> None:
    """Nothing flows to the values before the first step."""
    right = batched_phase.BOUNDARY_GRADIENTS["to_initial"]
    patch.setitem(
        batched_phase.BOUNDARY_GRADIENTS,
        "to_initial",
        lambda value, memory: torch.zeros_like(right(value, memory)),
    )


def _resets_ignored_in_one_step(patch: Patch) -> None:
    """A call of one step does not begin afresh."""
    begin = Segments.__init__

    def without(self: Segments, call: Call) -> None:
        begin(self, replace(call, resets=None) if call.steps == 1 else call)

    patch.setattr(Segments, "__init__", without)


def _padding_leaks(patch: Patch) -> None:
    """An output at the end is that of the longest row's end."""

    def last(self: Segments, series: Tensor) -> Tensor:
        return (
            series[-1]
            if self.call.steps
            else series.new_zeros(self.call.batch_size, series.shape[-1])
        )

    patch.setattr(Segments, "last_step", last)


def _ragged_state_from_longest_row(patch: Patch) -> None:
    """What a ragged call leaves is counted from the longest row's end."""
    right = Segments.next_carry

    def history_after(self: Segments, node: int, series: list[Tensor]) -> Tensor:
        kept = self.lengths
        self.lengths = torch.full_like(kept, self.call.steps)
        try:
            return right(self, node, series)
        finally:
            self.lengths = kept

    patch.setattr(Segments, "next_carry", history_after)


def _no_symbol_is_the_first(patch: Patch) -> None:
    """−1 is looked up as 0."""
    right = interpreter.lookup_symbol

    def look_up(weight: Tensor, symbol: Tensor, *, transposed: bool) -> Tensor:
        return right(weight, symbol.clamp(min=0), transposed=transposed)

    patch.setattr(interpreter, "lookup_symbol", look_up)


def _swapped_operands(patch: Patch) -> None:
    """A zone-out in evaluation takes the old value for the new one."""

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
"""By name: the backend whose search is to find it, and the fault."""


@contextmanager
def plant_fault(name: str) -> Iterator[None]:
    """The code with a fault in it."""
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[name][1](patch)
        yield


def specs_until_found(name: str, first: int, most: int = 1000) -> int | None:
    """How many specs a search needs to meet a fault; None where it does not meet it.

    What fails without the fault as well is not counted.
    """
    backend = FAULTS[name][0]
    with search_environment(backend, ""):
        for seed in range(first, first + most):
            spec, calling = random_spec(seed), random_call(seed)
            with plant_fault(name):
                found = describe_failure(backend, spec.text, spec.sizes, calling)
            if found and not describe_failure(backend, spec.text, spec.sizes, calling):
                return seed - first + 1
    return None
