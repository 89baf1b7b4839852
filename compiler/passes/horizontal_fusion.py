"""One operation on neighbouring slices becomes one operation on the wider slice.

    f(a[0:n], b[0:n]), f(a[n:m], b[n:m])     -> y = f(a[0:m], b[0:m]); y[0:n], y[n:m]

Vectors of parameters, one for each, are concatenated. Side condition: elementwise, forward,
the same attributes; all inside of one cycle or all outside of any; no one of them is needed for
what another one reads. Keeps every bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read, Value
from rnnc.compiler.ir.ops import ELEMENTWISE

from .canonicalize import tidied


@dataclass(frozen=True, slots=True)
class _Part:
    """An operand that is some entries of a base."""

    base: int
    start: int
    stop: int


def pack(flow: Flow) -> Flow:
    """The flow with as few elementwise operations as its slices allow."""
    while True:
        run = _run(flow)
        if run is None:
            return flow
        flow = tidied(_merged(flow, run))


def _parts(flow: Flow, value: Value) -> list[_Part | Read] | None:
    """Each operand as a slice of a base, or as it is (a number, a parameter's vector)."""
    parts: list[_Part | Read] = []
    for read in value.operands:
        source = flow.values[read.value]
        if read.delay == 0 and source.operation == "slice" and source.operands[0].delay == 0:
            start, stop = (int(a) for a in source.attributes)
            if stop - start != value.shape[0]:
                return None
            parts.append(_Part(source.operands[0].value, start, stop))
        elif source.rate == "call" and source.shape in {(1,), value.shape}:
            parts.append(read)
        else:
            return None
    return parts if any(isinstance(part, _Part) for part in parts) else None


def _run(flow: Flow) -> list[int] | None:
    """Some values that can become one, in the order of their slices."""
    groups: dict[object, list[tuple[int, list[_Part | Read]]]] = {}
    for value in flow.values:
        if value.adjoint or value.operation not in ELEMENTWISE or value.rate == "call":
            continue
        parts = _parts(flow, value)
        if parts is None:
            continue
        cycle = flow.component_of[value.number] if value.number in flow.cyclic else -1
        kinds = tuple(_kind(flow, part) for part in parts)
        key = (value.operation, value.attributes, kinds, cycle)
        groups.setdefault(key, []).append((value.number, parts))
    for members in groups.values():
        members.sort(key=lambda item: _start(item[1]))
        run = [members[0]]
        for member in members[1:]:
            if _follows(run[-1][1], member[1]):
                run.append(member)
            elif len(run) > 1:
                break
            else:
                run = [member]
        numbers_of_run = [number for number, _ in run]
        if len(run) > 1 and _independent(flow, numbers_of_run, run[0][1]):
            return numbers_of_run
    return None


def _kind(flow: Flow, part: _Part | Read) -> tuple[str, int]:
    """What an operand must share with those beside it: its base; of a number, itself."""
    if isinstance(part, _Part):
        return ("slice", part.base)
    return ("number", part.value) if flow.values[part.value].shape == (1,) else ("vector", 0)


def _start(parts: list[_Part | Read]) -> int:
    return next(part.start for part in parts if isinstance(part, _Part))


def _follows(before: list[_Part | Read], after: list[_Part | Read]) -> bool:
    return all(
        not isinstance(a, _Part) or not isinstance(b, _Part) or a.stop == b.start
        for a, b in zip(before, after, strict=True)
    )


def _independent(flow: Flow, run: list[int], parts: list[_Part | Read]) -> bool:
    """Whether no value of a run is needed, in the same step, for a base that they read."""
    waiting = [part.base for part in parts if isinstance(part, _Part)]
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in run:
            return False
        if number not in seen:
            seen.add(number)
            waiting += [read.value for read in flow.values[number].operands if not read.delay]
    return True


def _merged(flow: Flow, run: list[int]) -> Flow:
    draft = Draft.of(flow)
    first = flow.values[run[0]]
    all_parts = [_parts(flow, flow.values[number]) for number in run]
    operands: list[Read] = []
    for position in range(len(first.operands)):
        column = [parts[position] for parts in all_parts if parts is not None]
        head, last = column[0], column[-1]
        if isinstance(head, _Part) and isinstance(last, _Part):
            bounds = (head.start, last.stop)
            operands.append(draft.add("slice", Read(head.base), attributes=bounds, adjoint=False))
        elif isinstance(head, Read) and draft.width(head) > 1:
            reads = [read for read in column if isinstance(read, Read)]
            operands.append(draft.add("concatenate", *reads))
        else:
            assert isinstance(head, Read)
            operands.append(head)
    packed = draft.add(first.operation, *operands, attributes=first.attributes, origin=first.origin)
    start = 0
    for number in run:
        stop = start + flow.values[number].size
        draft.redirect(number, draft.add("slice", packed, attributes=(start, stop)))
        start = stop
    return draft.finish()
