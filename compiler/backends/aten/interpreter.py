"""The phases of a plan, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from rnnc.compiler.calls.sequence_masks import Boundaries, like_of
from rnnc.compiler.ir.dataflow import Read
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.semantics.call import Call, Result

from .batched_phase import run_batched
from .buffers import Memory
from .loop_phase import run_loop
from .scan_phase import run_scan


class Engine(Protocol):
    """What computes the phases of a plan, of one backend."""

    def prepared(self, plan: Plan, call: Call) -> Memory:
        """The memory of a call before its first phase."""

    def run_phases(self, phases: Iterable[Phase], memory: Memory) -> None:
        """Compute some phases; what no later one reads is let go."""


class AtenEngine:
    """Phases through ATen calls."""

    def prepared(self, plan: Plan, call: Call) -> Memory:
        """The memory of a call before its first phase."""
        return prepared(plan, call)

    def run_phases(self, phases: Iterable[Phase], memory: Memory) -> None:
        """Compute some phases."""
        run_phases(phases, memory)


def prepared(plan: Plan, call: Call) -> Memory:
    """The memory of a call before its first phase."""
    like = like_of(call).detach()
    return Memory(plan, call, like, Boundaries(call, like))


def run_phases(phases: Iterable[Phase], memory: Memory) -> None:
    """Compute some phases; what no later one reads is let go."""
    for phase in phases:
        if phase.kind == "scan":
            run_scan(phase, memory)
        elif phase.kind == "loop":
            run_loop(phase, memory)
        else:
            run_batched(phase, memory)
        memory.release(phase.number, frozenset())


def collected(memory: Memory) -> Result:
    """What a call gives, once all forward phases have run."""
    plan, call, boundaries = memory.plan, memory.call, memory.boundaries
    graph = plan.flow.graph
    outputs: list[Tensor] = []
    for output, read in zip(graph.outputs, plan.flow.outputs, strict=True):
        series = _whole(memory, read)
        outputs.append(boundaries.last(series) if output.at_end else boundaries.shown(series))
    history: dict[str, Tensor] = {}
    numbers = {
        str(v.attributes[0]): v.number
        for v in plan.flow.values
        if v.operation in {"state", "input"}
    }
    for name in call.history:
        line, before = memory.line(numbers[name])
        keep = len(call.history[name])
        line = line[before - keep : before + call.steps]
        after = boundaries.history_after(name, line)
        # An engine may compute in a wider type than the model's.
        history[name] = after.to(memory.like.dtype) if after.is_floating_point() else after
    laws = tuple(_whole(memory, read).squeeze(-1) for read in plan.flow.laws)
    kept = tuple(_whole(memory, read) for read in plan.flow.kept)
    return Result(tuple(outputs), history, laws, kept)


def _whole(memory: Memory, read: Read) -> Tensor:
    """A value at all steps and rows, in memory that nobody else has."""
    series = memory.read(read).to(memory.like.dtype)
    width = memory.values[read.value].shape[-1]
    call = memory.call
    if series.dim() == 3 and _is_own(memory, read):
        return series
    return series.expand(call.steps, call.rows, width).clone()


def _is_own(memory: Memory, read: Read) -> bool:
    """Whether a buffer holds this value alone and is not kept: it may go to the caller as it is."""
    place = memory.plan.places[read.value]
    if place is None or read.delay or read.value in memory.given:
        return False
    buffer = memory.plan.buffers[place.buffer]
    whole = buffer.width == memory.values[read.value].shape[-1]
    return whole and not (buffer.saved or buffer.before or buffer.after) and _is_last(memory, read)


def _is_last(memory: Memory, read: Read) -> bool:
    reads = memory.plan.flow.results
    return sum(memory.plan.places[r.value] == memory.plan.places[read.value] for r in reads) == 1
