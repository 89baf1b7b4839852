"""Liveness: the phases in which values are live, and the margins of their series."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Dataflow, Operand, Value
from rnnc.compiler.schedule.plan import Phase


@dataclass(slots=True)
class LiveRange:
    """The phases between which a value is needed, and its extent in time.

    is_series: all steps are needed, not only the current one.
    steps_before, steps_after: margins of the series; see `plan.Buffer`.
    is_residual: the backward pass uses a forward value.
    outlives_plan: the value is a result of the call.
    """

    first_phase: int
    last_phase: int
    steps_before: int = 0
    steps_after: int = 0
    is_series: bool = False
    is_residual: bool = False
    outlives_plan: bool = False


def live_ranges(
    dataflow: Dataflow, phases: tuple[Phase, ...], phase_of: dict[int, int]
) -> list[LiveRange]:
    """Compute the live range of each value, without regard to aliases."""
    ranges = [
        LiveRange(phase_of.get(v.id, 0), phase_of.get(v.id, 0), is_series=_is_boundary_gradient(v))
        for v in dataflow.values
    ]
    for value in dataflow.values:
        phase = phase_of.get(value.id)
        if phase is None:
            continue
        for operand in value.operands:
            live, source = ranges[operand.value], dataflow.values[operand.value]
            live.last_phase = max(live.last_phase, phase)
            if phase_of.get(operand.value) != phase or operand.delay:
                live.is_series = True
            if value.adjoint and not source.adjoint:
                live.is_residual = True
            _extend_margins(live, source, operand)
    for state in dataflow.graph.states:
        live = ranges[dataflow.ids_by_name["state", state.name]]
        live.is_series = live.outlives_plan = True
        live.steps_before = max(0, state.delay)
    for operand in dataflow.results:
        live = ranges[operand.value]
        live.is_series = live.outlives_plan = True
        _extend_margins(live, dataflow.values[operand.value], operand)
    for gradient in dataflow.gradients:
        if gradient.value >= 0:
            ranges[gradient.value].is_series = ranges[gradient.value].outlives_plan = True
    return ranges


def merge_live_ranges(target: LiveRange, other: LiveRange) -> None:
    """Extend a live range by that of another value in the same buffer."""
    target.first_phase = min(target.first_phase, other.first_phase)
    target.last_phase = max(target.last_phase, other.last_phase)
    target.steps_before = max(target.steps_before, other.steps_before)
    target.steps_after = max(target.steps_after, other.steps_after)
    target.is_series |= other.is_series
    target.is_residual |= other.is_residual
    target.outlives_plan |= other.outlives_plan


def _extend_margins(live: LiveRange, source: Value, operand: Operand) -> None:
    """Extend a series by the steps that a delayed use reaches beyond its ends."""
    if operand.delay < 0:
        live.steps_after = max(live.steps_after, -operand.delay)
    elif source.operation not in BOUNDARY_VALUE_OPS:
        live.steps_before = max(live.steps_before, operand.delay)


def _is_boundary_gradient(value: Value) -> bool:
    return value.operation in {"to_history", "to_initial"}
