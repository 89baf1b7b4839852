"""Live ranges of values over the phases of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Dataflow, Operand, Value
from rnnc.compiler.schedule.plan import Phase


@dataclass(slots=True)
class LiveRange:
    """The phases between which a value is needed, and the margins of its series."""

    first_phase: int
    last_phase: int
    steps_before: int = 0
    steps_after: int = 0
    is_series: bool = False
    is_residual: bool = False
    outlives_plan: bool = False


def live_ranges(
    flow: Dataflow, phases: tuple[Phase, ...], phase_of: dict[int, int]
) -> list[LiveRange]:
    lives = [
        LiveRange(
            phase_of.get(v.id, 0), phase_of.get(v.id, 0), is_series=_is_boundary_gradient(phases, v)
        )
        for v in flow.values
    ]
    for value in flow.values:
        home = phase_of.get(value.id)
        if home is None:
            continue
        for read in value.operands:
            life, source = lives[read.value], flow.values[read.value]
            life.last_phase = max(life.last_phase, home)
            if phase_of.get(read.value) != home or read.delay:
                life.is_series = True
            if value.adjoint and not source.adjoint:
                life.is_residual = True
            _extend_margins(life, source, read)
    for state in flow.graph.states:
        number = flow.ids_by_name["state", state.name]
        lives[number].is_series = True
        lives[number].outlives_plan = True
        lives[number].steps_before = max(0, state.delay)
    for read in flow.results:
        lives[read.value].is_series = lives[read.value].outlives_plan = True
        _extend_margins(lives[read.value], flow.values[read.value], read)
    for gradient in flow.gradients:
        if gradient.value >= 0:
            lives[gradient.value].is_series = lives[gradient.value].outlives_plan = True
    return lives


def _extend_margins(life: LiveRange, source: Value, read: Operand) -> None:
    """Give a series the margins that a read of it at another step reaches into."""
    if read.delay < 0:
        life.steps_after = max(life.steps_after, -read.delay)
    elif source.operation not in BOUNDARY_VALUE_OPS:
        life.steps_before = max(life.steps_before, read.delay)


def _is_boundary_gradient(phases: tuple[Phase, ...], value: Value) -> bool:
    return value.operation in {"to_history", "to_initial"}


def merge_live_ranges(into: LiveRange, other: LiveRange) -> None:
    into.first_phase = min(into.first_phase, other.first_phase)
    into.last_phase = max(into.last_phase, other.last_phase)
    into.steps_before = max(into.steps_before, other.steps_before)
    into.steps_after = max(into.steps_after, other.steps_after)
    into.is_series |= other.is_series
    into.is_residual |= other.is_residual
    into.outlives_plan |= other.outlives_plan
