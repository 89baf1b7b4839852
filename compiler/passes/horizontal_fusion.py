"""Horizontal fusion: equal operations on neighboring slices become one on the wider slice.

    f(a[0:n], b[0:n]), f(a[n:m], b[n:m])     -> y = f(a[0:m], b[0:m]); y[0:n], y[n:m]

Vectors of parameters are concatenated. Condition: elementwise, forward, equal attributes; all in
one cycle or all outside of any; none depends on another within a step. Bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS

from .canonicalize import canonicalize


@dataclass(frozen=True, slots=True)
class _SliceOperand:
    """An operand that is the entries [start, stop) of the value `base`."""

    base: int
    start: int
    stop: int


def fuse_horizontally(dataflow: Dataflow) -> Dataflow:
    """Fuse runs of elementwise operations on neighboring slices until none is left."""
    while True:
        run = _find_run(dataflow)
        if run is None:
            return dataflow
        dataflow = canonicalize(_merge_run(dataflow, run))


def _slice_operands(dataflow: Dataflow, value: Value) -> list[_SliceOperand | Operand] | None:
    """Return the operands as slices, or as they are (constants, parameters); None if unfit."""
    operands: list[_SliceOperand | Operand] = []
    for operand in value.operands:
        source = dataflow.values[operand.value]
        is_slice = source.operation == "slice" and source.operands[0].delay == 0
        if operand.delay == 0 and is_slice:
            start, stop = (int(a) for a in source.attributes)
            if stop - start != value.shape[0]:
                return None
            operands.append(_SliceOperand(source.operands[0].value, start, stop))
        elif source.rate == "call" and source.shape in {(1,), value.shape}:
            operands.append(operand)
        else:
            return None
    return operands if any(isinstance(o, _SliceOperand) for o in operands) else None


def _find_run(dataflow: Dataflow) -> list[int] | None:
    """Return the ids of the first values that can become one, in the order of their slices."""
    groups: dict[object, list[tuple[int, list[_SliceOperand | Operand]]]] = {}
    for value in dataflow.values:
        if value.adjoint or value.operation not in ELEMENTWISE_OPS or value.rate == "call":
            continue
        operands = _slice_operands(dataflow, value)
        if operands is None:
            continue
        is_cyclic = value.id in dataflow.cyclic_values
        cycle = dataflow.component_of[value.id] if is_cyclic else -1
        operand_keys = tuple(_operand_key(dataflow, operand) for operand in operands)
        key = (value.operation, value.attributes, operand_keys, cycle)
        groups.setdefault(key, []).append((value.id, operands))
    for members in groups.values():
        members.sort(key=lambda member: _first_entry(member[1]))
        run = [members[0]]
        for member in members[1:]:
            if _is_adjacent(run[-1][1], member[1]):
                run.append(member)
            elif len(run) > 1:
                break
            else:
                run = [member]
        value_ids = [value_id for value_id, _ in run]
        if len(run) > 1 and _is_independent(dataflow, value_ids, run[0][1]):
            return value_ids
    return None


def _operand_key(dataflow: Dataflow, operand: _SliceOperand | Operand) -> tuple[str, int]:
    """Return a key that operands of one run share: the base of slices, the id of a constant."""
    if isinstance(operand, _SliceOperand):
        return ("slice", operand.base)
    is_scalar = dataflow.values[operand.value].shape == (1,)
    return ("scalar", operand.value) if is_scalar else ("vector", 0)


def _first_entry(operands: list[_SliceOperand | Operand]) -> int:
    return next(operand.start for operand in operands if isinstance(operand, _SliceOperand))


def _is_adjacent(left: list[_SliceOperand | Operand], right: list[_SliceOperand | Operand]) -> bool:
    return all(
        not isinstance(a, _SliceOperand) or not isinstance(b, _SliceOperand) or a.stop == b.start
        for a, b in zip(left, right, strict=True)
    )


def _is_independent(
    dataflow: Dataflow, run: list[int], operands: list[_SliceOperand | Operand]
) -> bool:
    """Return True if no base of the operands depends on a member of the run within a step."""
    pending = [operand.base for operand in operands if isinstance(operand, _SliceOperand)]
    visited: set[int] = set()
    while pending:
        value_id = pending.pop()
        if value_id in run:
            return False
        if value_id not in visited:
            visited.add(value_id)
            sources = dataflow.values[value_id].operands
            pending += [source.value for source in sources if not source.delay]
    return True


def _merge_run(dataflow: Dataflow, run: list[int]) -> Dataflow:
    builder = Builder.from_dataflow(dataflow)
    first = dataflow.values[run[0]]
    operand_lists = [_slice_operands(dataflow, dataflow.values[value_id]) for value_id in run]
    wide_operands: list[Operand] = []
    for position in range(len(first.operands)):
        column = [operands[position] for operands in operand_lists if operands is not None]
        head, tail = column[0], column[-1]
        if isinstance(head, _SliceOperand) and isinstance(tail, _SliceOperand):
            base, bounds = Operand(head.base), (head.start, tail.stop)
            wide_operands.append(builder.create("slice", base, attributes=bounds, adjoint=False))
        elif isinstance(head, Operand) and builder.width(head) > 1:
            vectors = [operand for operand in column if isinstance(operand, Operand)]
            wide_operands.append(builder.create("concatenate", *vectors))
        else:
            assert isinstance(head, Operand)
            wide_operands.append(head)
    fused = builder.create(
        first.operation, *wide_operands, attributes=first.attributes, origin=first.origin
    )
    start = 0
    for value_id in run:
        stop = start + dataflow.values[value_id].size
        part = builder.create("slice", fused, attributes=(start, stop))
        builder.replace_uses(value_id, part)
        start = stop
    return builder.build()
