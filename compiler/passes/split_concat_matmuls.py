"""A product of a concatenation becomes the sum of products of its parts, where that frees a part.

    in a cycle: matmul(W, concatenate(x, h)), x outside of it   -> add(matmul(W[:, 0:n], x),
                                                                       matmul(W[:, n:m], h))
    matmul(W, concatenate(onehot(s), h))                        -> add(lookup(W[:, 0:n], s), …)
    outer_sum(g, concatenate(x, h)), x and h apart by now       -> stack[1](outer_sum(g, x), …)

So that `W [x ; h]` costs what `U x + W h` costs: `hoist` takes the product of x out of the loop.
Side condition: the concatenation is read at the same step, its parts differ from step to step, the
matrix is whole, and what becomes free is not so narrow (a sixteenth of the rest) that it costs less
where it is than on its way through memory. The order of summation changes: rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value

from .matrix_slices import Range, locate_range, slice_matrix

MAX_WIDTH_RATIO: Final = 16
"""How many times as wide as what becomes free the rest is at the most."""


@dataclass(frozen=True, slots=True)
class _ConcatPart:
    """Parts of a concatenation that stay together; a symbol in place of its one-hot vector."""

    ranges: tuple[Range, ...]
    operand: Operand
    is_symbol: bool = False


def split_concat_matmuls(dataflow: Dataflow) -> Dataflow:
    """The flow with products of the parts of concatenations."""
    draft = Builder.from_dataflow(dataflow)
    shared: dict[tuple[int, int], tuple[_ConcatPart, ...]] = {}
    ways: dict[int, set[int]] = {}
    for value in dataflow.values:
        if value.operation != "matmul":
            continue
        whole = _find_concatenation(dataflow, value.operands[1])
        if whole is None:
            continue
        cycle = dataflow.component_of[value.id] if value.id in dataflow.cyclic_values else -1
        ways.setdefault(whole.id, set()).add(cycle)
        key = (whole.id, cycle)
        if key not in shared:
            shared[key] = _partition_concatenation(draft, dataflow, whole, cycle)
        if len(shared[key]) > 1 and len(dataflow.values[value.operands[0].value].shape) == 2:
            draft.replace_uses(value.id, _add_matmuls(draft, value, shared[key]))
    for value in dataflow.values:
        if value.operation == "outer_sum" and not value.attributes:
            for side in (0, 1):
                number = value.operands[side].value
                if len(ways.get(number, ())) != 1 or value.operands[side].delay:
                    continue
                shares = shared[number, next(iter(ways[number]))]
                if len(shares) > 1:
                    draft.replace_uses(value.id, _stack_outer_sums(draft, value, side, shares))
                    break
    return draft.build()


def _find_concatenation(flow: Dataflow, read: Operand) -> Value | None:
    whole = flow.values[read.value]
    if whole.operation != "concatenate" or read.delay:
        return None
    return whole if all(flow.values[r.value].rate == "step" for r in whole.operands) else None


def _partition_concatenation(
    draft: Builder, flow: Dataflow, whole: Value, cycle: int
) -> tuple[_ConcatPart, ...]:
    """What is of a cycle, what is not, and each symbol by itself; of one kind alone, nothing."""
    groups: dict[str, list[tuple[Range, Operand]]] = {}
    symbols: list[_ConcatPart] = []
    start = 0
    for read in whole.operands:
        source = flow.values[read.value]
        stop = start + source.size
        if source.operation == "onehot" and not read.delay:
            symbols.append(_ConcatPart(((start, stop),), source.operands[0], is_symbol=True))
        else:
            kind = "inside" if flow.component_of[read.value] == cycle else "outside"
            groups.setdefault(kind, []).append(((start, stop), read))
        start = stop
    if len(groups) == 2 and MAX_WIDTH_RATIO * _total_width(groups["outside"]) <= _total_width(
        groups["inside"]
    ):
        both = [*groups["inside"], *groups["outside"]]
        groups = {"inside": sorted(both, key=lambda member: member[0])}
    shares = []
    for members in groups.values():
        reads = [read for _, read in members]
        together = reads[0]
        if len(reads) > 1:
            together = draft.create(
                "concatenate", *reads, adjoint=whole.adjoint, origin=whole.origin
            )
        shares.append(_ConcatPart(tuple(r for r, _ in members), together))
    return (*shares, *symbols)


def _total_width(members: list[tuple[Range, Operand]]) -> int:
    return sum(stop - start for (start, stop), _ in members)


def _add_matmuls(draft: Builder, value: Value, shares: tuple[_ConcatPart, ...]) -> Operand:
    weight, axis = value.operands[0], 0 if value.attributes[0] else 1

    def product(share: _ConcatPart) -> Operand:
        return draft.create(
            "lookup" if share.is_symbol else "matmul",
            slice_matrix(draft, weight, axis, share.ranges),
            share.operand,
            attributes=value.attributes,
            adjoint=value.adjoint,
            origin=value.origin,
        )

    return draft.create("add", *map(product, shares), adjoint=value.adjoint, origin=value.origin)


def _stack_outer_sums(
    draft: Builder, value: Value, side: int, shares: tuple[_ConcatPart, ...]
) -> Operand:
    """The parts of a gradient, as rows (side 0) or columns (1) in their old order."""
    other = value.operands[1 - side]
    make = _outer_sum_builder(draft, other, side, adjoint=value.adjoint)
    pieces: list[tuple[Range, Operand]] = []
    for share in shares:
        made = make(share)
        for one in share.ranges:
            at = locate_range(share.ranges, one)
            pieces.append((one, slice_matrix(draft, made, side, (at,))))
    pieces.sort(key=lambda piece: piece[0])
    return draft.create(
        "stack", *(piece for _, piece in pieces), attributes=(side,), adjoint=value.adjoint
    )


def _outer_sum_builder(
    draft: Builder, other: Operand, side: int, *, adjoint: bool
) -> Callable[[_ConcatPart], Operand]:
    def made(share: _ConcatPart) -> Operand:
        if share.is_symbol:
            extent = sum(stop - start for start, stop in share.ranges)
            shape = (extent, draft.width(other)) if side == 0 else (draft.width(other), extent)
            return draft.create(
                "indexed_sum", other, share.operand, attributes=(side == 0, *shape), adjoint=adjoint
            )
        operands = (share.operand, other) if side == 0 else (other, share.operand)
        return draft.create("outer_sum", *operands, adjoint=adjoint)

    return made
