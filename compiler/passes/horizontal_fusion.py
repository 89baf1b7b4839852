"""One operation on neighbouring slices becomes one operation on the wider slice.

    f(a[0:n], b[0:n]), f(a[n:m], b[n:m])     -> y = f(a[0:m], b[0:m]); y[0:n], y[n:m]

Vectors of parameters, one for each, are concatenated. Side condition: elementwise, forward,
the same attributes; all inside of one cycle or all outside of any; no one of them is needed for
what another one reads. Keeps every bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS

from .canonicalize import canonicalize


@dataclass(frozen=True, slots=True)
class _SliceOperand:
    """An operand that is some entries of a base."""

    base: int
    start: int
    stop: int


def fuse_horizontally(dataflow: Dataflow) -> Dataflow:
    """The flow with as few elementwise operations as its slices allow."""
    while True:
        run = _find_run(dataflow)
        if run is None:
            return dataflow
        dataflow = canonicalize(_merge_run(dataflow, run))


def _slice_operands(flow: Dataflow, value: Value) -> list[_SliceOperand | Operand] | None:
    """Each operand as a slice of a base, or as it is (a number, a parameter's vector)."""
    parts: list[_SliceOperand | Operand] = []
    for read in value.operands:
        source = flow.values[read.value]
        if read.delay == 0 and source.operation == "slice" and source.operands[0].delay == 0:
            start, stop = (int(a) for a in source.attributes)
            if stop - start != value.shape[0]:
                return None
            parts.append(_SliceOperand(source.operands[0].value, start, stop))
        elif source.rate == "call" and source.shape in {(1,), value.shape}:
            parts.append(read)
        else:
            return None
    return parts if any(isinstance(part, _SliceOperand) for part in parts) else None


def _find_run(flow: Dataflow) -> list[int] | None:
    """Some values that can become one, in the order of their slices."""
    groups: dict[object, list[tuple[int, list[_SliceOperand | Operand]]]] = {}
    for value in flow.values:
        if value.adjoint or value.operation not in ELEMENTWISE_OPS or value.rate == "call":
            continue
        parts = _slice_operands(flow, value)
        if parts is None:
            continue
        cycle = flow.component_of[value.id] if value.id in flow.cyclic_values else -1
        kinds = tuple(_operand_key(flow, part) for part in parts)
        key = (value.operation, value.attributes, kinds, cycle)
        groups.setdefault(key, []).append((value.id, parts))
    for members in groups.values():
        members.sort(key=lambda item: _first_entry(item[1]))
        run = [members[0]]
        for member in members[1:]:
            if _is_adjacent(run[-1][1], member[1]):
                run.append(member)
            elif len(run) > 1:
                break
            else:
                run = [member]
        numbers_of_run = [number for number, _ in run]
        if len(run) > 1 and _is_independent(flow, numbers_of_run, run[0][1]):
            return numbers_of_run
    return None


def _operand_key(flow: Dataflow, part: _SliceOperand | Operand) -> tuple[str, int]:
    """What an operand must share with those beside it: its base; of a number, itself."""
    if isinstance(part, _SliceOperand):
        return ("slice", part.base)
    return ("number", part.value) if flow.values[part.value].shape == (1,) else ("vector", 0)


def _first_entry(parts: list[_SliceOperand | Operand]) -> int:
    return next(part.start for part in parts if isinstance(part, _SliceOperand))


def _is_adjacent(
    before: list[_SliceOperand | Operand], after: list[_SliceOperand | Operand]
) -> bool:
    return all(
        not isinstance(a, _SliceOperand) or not isinstance(b, _SliceOperand) or a.stop == b.start
        for a, b in zip(before, after, strict=True)
    )


def _is_independent(flow: Dataflow, run: list[int], parts: list[_SliceOperand | Operand]) -> bool:
    """Whether no value of a run is needed, in the same step, for a base that they read."""
    waiting = [part.base for part in parts if isinstance(part, _SliceOperand)]
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in run:
            return False
        if number not in seen:
            seen.add(number)
            waiting += [read.value for read in flow.values[number].operands if not read.delay]
    return True


def _merge_run(flow: Dataflow, run: list[int]) -> Dataflow:
    draft = Builder.from_dataflow(flow)
    first = flow.values[run[0]]
    all_parts = [_slice_operands(flow, flow.values[number]) for number in run]
    operands: list[Operand] = []
    for position in range(len(first.operands)):
        column = [parts[position] for parts in all_parts if parts is not None]
        head, last = column[0], column[-1]
        if isinstance(head, _SliceOperand) and isinstance(last, _SliceOperand):
            bounds = (head.start, last.stop)
            operands.append(
                draft.create("slice", Operand(head.base), attributes=bounds, adjoint=False)
            )
        elif isinstance(head, Operand) and draft.width(head) > 1:
            reads = [read for read in column if isinstance(read, Operand)]
            operands.append(draft.create("concatenate", *reads))
        else:
            assert isinstance(head, Operand)
            operands.append(head)
    packed = draft.create(
        first.operation, *operands, attributes=first.attributes, origin=first.origin
    )
    start = 0
    for number in run:
        stop = start + flow.values[number].size
        draft.replace_uses(number, draft.create("slice", packed, attributes=(start, stop)))
        start = stop
    return draft.build()
