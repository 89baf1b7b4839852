"""Launch segments: the kernel groups of a pass -> launches, each one call of compiled code.

A launch ends where ATen must compute an operand of the next kernel group. Input: kernel groups in
order. Output: launches with the sources, states, tables and windows that the caller binds for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from rnnc.compiler.ir.dataflow import Dataflow, Value

from .frame_layout import FrameLayout
from .kernel_partition import CpuKernelGroup
from .window_access import WindowKey, window_key

_PLAIN_MATRIX: Final = 3
"""Attributes of an indexed sum without blocks: transposed, rows, columns."""


@dataclass
class CpuLaunch:
    """Jobs of compiled code, then values of ATen.

    jobs: kernel groups and sums over all rows, in order.
    sources: ids of finished values that the jobs read: arguments of the call and results of ATen.
    states: ids of states, whose values outside of segments the jobs read.
    lookups: ids of values that look up in a table.
    window_keys: the window indices that the jobs need.
    """

    jobs: list[CpuKernelGroup | Value] = field(default_factory=list)
    aten_values: list[int] = field(default_factory=list)
    sources: tuple[int, ...] = ()
    states: tuple[int, ...] = ()
    lookups: tuple[int, ...] = ()
    window_keys: tuple[WindowKey, ...] = ()

    @cached_property
    def row_sums(self) -> tuple[Value, ...]:
        """The sums over all rows among the jobs."""
        return tuple(job for job in self.jobs if isinstance(job, Value))


def partition_launches(layout: FrameLayout, *, adjoint: bool) -> tuple[CpuLaunch, ...]:
    """Partition the kernel groups of one pass into launches, in order."""
    flow = layout.flow
    launches: list[CpuLaunch] = []
    # Results of the current launch that are tensors: who reads them needs them bound first.
    new_tensors: set[int] = set()
    for group in layout.kernel_groups:
        if group.adjoint != adjoint:
            continue
        if not launches or (
            not group.runs_in_aten
            and (launches[-1].aten_values or _reads_any(flow, group, new_tensors))
        ):
            launches.append(CpuLaunch())
            new_tensors = set()
        if not group.runs_in_aten:
            launches[-1].jobs.append(group)
            continue
        members = set(group.values)
        for value_id in group.values:
            value = flow.values[value_id]
            new_tensors.add(value_id)
            reads_group = any(operand.value in members for operand in value.operands)
            if is_generated_sum(flow, value) and not reads_group:
                launches[-1].jobs.append(value)
            else:
                launches[-1].aten_values.append(value_id)
    for launch in launches:
        _collect_bindings(layout, launch)
    return tuple(launches)


def _collect_bindings(layout: FrameLayout, launch: CpuLaunch) -> None:
    """Fill in all that the caller must bind before a launch."""
    flow = layout.flow
    generated = {
        value_id
        for group in layout.kernel_groups
        if not group.runs_in_aten
        for value_id in group.values
    }
    values = [
        flow.values[value_id]
        for job in launch.jobs
        for value_id in ((job.id,) if isinstance(job, Value) else job.values)
    ]
    operand_ids = dict.fromkeys(operand.value for value in values for operand in value.operands)
    launch.sources = tuple(
        n for n in operand_ids if n not in generated and flow.values[n].operation != "constant"
    )
    launch.states = tuple(value.id for value in values if value.operation == "state")
    keys = dict.fromkeys(window_key(value) for value in values)
    launch.window_keys = tuple(key for key in keys if key is not None)
    launch.lookups = tuple(v.id for v in values if layout.lookup_table_key(v) is not None)


def is_generated_sum(flow: Dataflow, value: Value) -> bool:
    """Return true if the job runner computes this sum over all rows; ATen has the others."""
    per_step = all(flow.values[operand.value].rate == "step" for operand in value.operands)
    if value.operation == "outer_sum":
        return per_step and not value.attributes
    if value.operation == "indexed_sum":
        return per_step and len(value.attributes) == _PLAIN_MATRIX
    return value.operation == "total" and per_step and not value.operands[0].delay


def _reads_any(flow: Dataflow, group: CpuKernelGroup, value_ids: set[int]) -> bool:
    return any(
        operand.value in value_ids
        for value_id in group.values
        for operand in flow.values[value_id].operands
    )
