"""Live ranges of values over the phases of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import BOUNDED, Flow, Read, Value
from rnnc.compiler.schedule.plan import Phase


@dataclass(slots=True)
class _Lives:
    """The phases between which a value is needed, and the margins of its series."""

    first: int
    last: int
    before: int = 0
    after: int = 0
    series: bool = False
    saved: bool = False
    outlives: bool = False


def _lifetimes(flow: Flow, phases: tuple[Phase, ...], phase_of: dict[int, int]) -> list[_Lives]:
    lives = [
        _Lives(phase_of.get(v.number, 0), phase_of.get(v.number, 0), series=_is_outside(phases, v))
        for v in flow.values
    ]
    for value in flow.values:
        home = phase_of.get(value.number)
        if home is None:
            continue
        for read in value.operands:
            life, source = lives[read.value], flow.values[read.value]
            life.last = max(life.last, home)
            if phase_of.get(read.value) != home or read.delay:
                life.series = True
            if value.adjoint and not source.adjoint:
                life.saved = True
            _widen(life, source, read)
    for state in flow.graph.states:
        number = flow.numbers["state", state.name]
        lives[number].series = True
        lives[number].outlives = True
        lives[number].before = max(0, state.delay)
    for read in flow.results:
        lives[read.value].series = lives[read.value].outlives = True
        _widen(lives[read.value], flow.values[read.value], read)
    for gradient in flow.gradients:
        if gradient.value >= 0:
            lives[gradient.value].series = lives[gradient.value].outlives = True
    return lives


def _widen(life: _Lives, source: Value, read: Read) -> None:
    """Give a series the margins that a read of it at another step reaches into."""
    if read.delay < 0:
        life.after = max(life.after, -read.delay)
    elif source.operation not in BOUNDED:
        life.before = max(life.before, read.delay)


def _is_outside(phases: tuple[Phase, ...], value: Value) -> bool:
    return value.operation in {"to_history", "to_initial"}


def _merge(into: _Lives, other: _Lives) -> None:
    into.first = min(into.first, other.first)
    into.last = max(into.last, other.last)
    into.before = max(into.before, other.before)
    into.after = max(into.after, other.after)
    into.series |= other.series
    into.saved |= other.saved
    into.outlives |= other.outlives
