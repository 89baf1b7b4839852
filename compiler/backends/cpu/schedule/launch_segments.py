"""The units of a pass -> segments: what one call of compiled code runs, then what ATen does."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from rnnc.compiler.ir.dataflow import Dataflow, Value

from .frame_layout import FrameLayout
from .kernel_partition import CpuKernelGroup
from .window_access import WindowKey, window_key

_PLAIN_MATRIX: Final = 3
"""Attributes of an indexed sum without blocks: whether it is transposed, rows, columns."""


@dataclass
class CpuLaunch:
    """Units of generated code and sums over all rows, in order; then values through ATen.

    sources: finished values that the compiled part reads: those that come with the call, and
        results of ATen.
    states: those whose values from before the first step, and outside of segments, are wanted.
    lookups: values that symbols look up in a table.
    window_keys: the tables of rows that its windows need.
    """

    jobs: list[CpuKernelGroup | Value] = field(default_factory=list)
    aten_values: list[int] = field(default_factory=list)
    sources: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    lookups: tuple[int, ...] = ()
    window_keys: tuple[WindowKey, ...] = ()

    @cached_property
    def row_sums(self) -> tuple[Value, ...]:
        """The sums over all rows that compiled code takes."""
        return tuple(job for job in self.jobs if isinstance(job, Value))


def partition_launches(layout: FrameLayout, *, adjoint: bool) -> tuple[CpuLaunch, ...]:
    """The segments of one pass, in order."""
    flow = layout.flow
    found: list[CpuLaunch] = []
    fresh: set[int] = set()
    """Results of the last segment that are tensors, and must be bound before they are read."""
    for unit in layout.kernel_groups:
        if unit.adjoint != adjoint:
            continue
        if not found or (
            not unit.runs_in_aten and (found[-1].aten_values or _reads_any(flow, unit, fresh))
        ):
            found.append(CpuLaunch())
            fresh = set()
        if not unit.runs_in_aten:
            found[-1].jobs.append(unit)
            continue
        own = set(unit.values)
        for number in unit.values:
            value = flow.values[number]
            fresh.add(number)
            if is_generated_sum(flow, value) and not any(r.value in own for r in value.operands):
                found[-1].jobs.append(value)
            else:
                found[-1].aten_values.append(number)
    made = {n for unit in layout.kernel_groups if not unit.runs_in_aten for n in unit.values}
    for segment in found:
        numbers = [
            number
            for job in segment.jobs
            for number in ((job.id,) if isinstance(job, Value) else job.values)
        ]
        values = [flow.values[number] for number in numbers]
        reads = dict.fromkeys(read.value for value in values for read in value.operands)
        segment.sources = tuple(
            n for n in reads if n not in made and flow.values[n].operation != "constant"
        )
        segment.states = tuple(v.id for v in values if v.operation == "state")
        keys = dict.fromkeys(window_key(value) for value in values)
        segment.window_keys = tuple(key for key in keys if key is not None)
        segment.lookups = tuple(v.id for v in values if layout.lookup_table_key(v) is not None)
    return tuple(found)


def is_generated_sum(flow: Dataflow, value: Value) -> bool:
    """Whether compiled code has this sum over all rows."""
    steps = all(flow.values[r.value].rate == "step" for r in value.operands)
    if value.operation == "outer_sum":
        return steps and not value.attributes
    if value.operation == "indexed_sum":
        return steps and len(value.attributes) == _PLAIN_MATRIX
    return value.operation == "total" and steps and not value.operands[0].delay


def _reads_any(flow: Dataflow, unit: CpuKernelGroup, numbers: set[int]) -> bool:
    return any(r.value in numbers for n in unit.values for r in flow.values[n].operands)
