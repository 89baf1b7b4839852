"""Interpret a plan: allocate its buffers, execute its phases in order, collect the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from rnnc.compiler.calls.sequence_masks import SequenceMasks, like_of
from rnnc.compiler.ir.dataflow import Operand
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.semantics.call import Call, CallResult

from .batched_phase import run_batched
from .buffers import AtenMemory
from .loop_phase import run_loop
from .scan_phase import run_scan


class Engine(Protocol):
    """Executor of the phases of a plan."""

    def create_buffers(self, plan: Plan, call: Call) -> AtenMemory:
        """Create the buffers of a call before its first phase."""

    def run_phases(self, phases: Iterable[Phase], memory: AtenMemory) -> None:
        """Execute some phases in order, freeing each buffer after its last phase."""


class AtenEngine:
    """Executor that makes ATen calls."""

    def create_buffers(self, plan: Plan, call: Call) -> AtenMemory:
        """Create the buffers of a call before its first phase."""
        return create_buffers(plan, call)

    def run_phases(self, phases: Iterable[Phase], memory: AtenMemory) -> None:
        """Execute some phases in order."""
        run_phases(phases, memory)


def create_buffers(plan: Plan, call: Call) -> AtenMemory:
    """Create the buffers of a call before its first phase."""
    like = like_of(call).detach()
    return AtenMemory(plan, call, like, SequenceMasks(call, like))


def run_phases(phases: Iterable[Phase], memory: AtenMemory) -> None:
    """Execute some phases in order, freeing each buffer after its last phase."""
    for phase in phases:
        if phase.kind == "scan":
            run_scan(phase, memory)
        elif phase.kind == "loop":
            run_loop(phase, memory)
        else:
            run_batched(phase, memory)
        memory.free_after(phase.id, frozenset())


def collect_result(memory: AtenMemory) -> CallResult:
    """Collect outputs, carry, laws and loss inputs after all forward phases have run."""
    plan, call, boundaries = memory.plan, memory.call, memory.boundaries
    graph = plan.dataflow.graph
    outputs: list[Tensor] = []
    for output, operand in zip(graph.outputs, plan.dataflow.outputs, strict=True):
        series = _materialize(memory, operand)
        outputs.append(
            boundaries.last_step(series) if output.at_end else boundaries.zero_padding(series)
        )
    carry: dict[str, Tensor] = {}
    variable_ids = {
        str(v.attributes[0]): v.id
        for v in plan.dataflow.values
        if v.operation in {"state", "input"}
    }
    for name in call.carry:
        padded, steps_before = memory.padded_series(variable_ids[name])
        count = len(call.carry[name])
        padded = padded[steps_before - count : steps_before + call.steps]
        values = boundaries.next_carry(name, padded)
        # An engine may compute in a wider dtype than the model's.
        carry[name] = values.to(memory.like.dtype) if values.is_floating_point() else values
    laws = tuple(_materialize(memory, operand).squeeze(-1) for operand in plan.dataflow.laws)
    loss_inputs = tuple(_materialize(memory, operand) for operand in plan.dataflow.loss_inputs)
    return CallResult(tuple(outputs), carry, laws, loss_inputs)


def _materialize(memory: AtenMemory, operand: Operand) -> Tensor:
    """Return a value at all steps and rows, (T, B, n), in memory that no other tensor shares."""
    series = memory.load(operand).to(memory.like.dtype)
    width = memory.values[operand.value].shape[-1]
    call = memory.call
    if series.dim() == 3 and _is_returnable(memory, operand):
        return series
    return series.expand(call.steps, call.batch_size, width).clone()


def _is_returnable(memory: AtenMemory, operand: Operand) -> bool:
    """Return True if the caller may own the buffer: it holds one value and is no residual."""
    region = memory.plan.regions[operand.value]
    if region is None or operand.delay or operand.value in memory.external:
        return False
    buffer = memory.plan.buffers[region.buffer]
    fills_buffer = buffer.width == memory.values[operand.value].shape[-1]
    return (
        fills_buffer
        and not (buffer.is_residual or buffer.steps_before or buffer.steps_after)
        and _is_unique_result(memory, operand)
    )


def _is_unique_result(memory: AtenMemory, operand: Operand) -> bool:
    results = memory.plan.dataflow.results
    return (
        sum(memory.plan.regions[r.value] == memory.plan.regions[operand.value] for r in results)
        == 1
    )
