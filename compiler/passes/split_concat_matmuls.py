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

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read, Value

from .matrix_slices import Range, section, within

NARROW: Final = 16
"""How many times as wide as what becomes free the rest is at the most."""


@dataclass(frozen=True, slots=True)
class _Share:
    """Parts of a concatenation that stay together; a symbol in place of its one-hot vector."""

    ranges: tuple[Range, ...]
    read: Read
    is_symbol: bool = False


def split(flow: Flow) -> Flow:
    """The flow with products of the parts of concatenations."""
    draft = Draft.of(flow)
    shared: dict[tuple[int, int], tuple[_Share, ...]] = {}
    ways: dict[int, set[int]] = {}
    for value in flow.values:
        if value.operation != "matmul":
            continue
        whole = _concatenation(flow, value.operands[1])
        if whole is None:
            continue
        cycle = flow.component_of[value.number] if value.number in flow.cyclic else -1
        ways.setdefault(whole.number, set()).add(cycle)
        key = (whole.number, cycle)
        if key not in shared:
            shared[key] = _shares(draft, flow, whole, cycle)
        if len(shared[key]) > 1 and len(flow.values[value.operands[0].value].shape) == 2:
            draft.redirect(value.number, _sum_of_products(draft, value, shared[key]))
    for value in flow.values:
        if value.operation == "outer_sum" and not value.attributes:
            for side in (0, 1):
                number = value.operands[side].value
                if len(ways.get(number, ())) != 1 or value.operands[side].delay:
                    continue
                shares = shared[number, next(iter(ways[number]))]
                if len(shares) > 1:
                    draft.redirect(value.number, _stack_of_sums(draft, value, side, shares))
                    break
    return draft.finish()


def _concatenation(flow: Flow, read: Read) -> Value | None:
    whole = flow.values[read.value]
    if whole.operation != "concatenate" or read.delay:
        return None
    return whole if all(flow.values[r.value].rate == "step" for r in whole.operands) else None


def _shares(draft: Draft, flow: Flow, whole: Value, cycle: int) -> tuple[_Share, ...]:
    """What is of a cycle, what is not, and each symbol by itself; of one kind alone, nothing."""
    groups: dict[str, list[tuple[Range, Read]]] = {}
    symbols: list[_Share] = []
    start = 0
    for read in whole.operands:
        source = flow.values[read.value]
        stop = start + source.size
        if source.operation == "onehot" and not read.delay:
            symbols.append(_Share(((start, stop),), source.operands[0], is_symbol=True))
        else:
            kind = "inside" if flow.component_of[read.value] == cycle else "outside"
            groups.setdefault(kind, []).append(((start, stop), read))
        start = stop
    if len(groups) == 2 and NARROW * _width(groups["outside"]) <= _width(groups["inside"]):
        both = [*groups["inside"], *groups["outside"]]
        groups = {"inside": sorted(both, key=lambda member: member[0])}
    shares = []
    for members in groups.values():
        reads = [read for _, read in members]
        together = reads[0]
        if len(reads) > 1:
            together = draft.add("concatenate", *reads, adjoint=whole.adjoint, origin=whole.origin)
        shares.append(_Share(tuple(r for r, _ in members), together))
    return (*shares, *symbols)


def _width(members: list[tuple[Range, Read]]) -> int:
    return sum(stop - start for (start, stop), _ in members)


def _sum_of_products(draft: Draft, value: Value, shares: tuple[_Share, ...]) -> Read:
    weight, axis = value.operands[0], 0 if value.attributes[0] else 1

    def product(share: _Share) -> Read:
        return draft.add(
            "lookup" if share.is_symbol else "matmul",
            section(draft, weight, axis, share.ranges),
            share.read,
            attributes=value.attributes,
            adjoint=value.adjoint,
            origin=value.origin,
        )

    return draft.add("add", *map(product, shares), adjoint=value.adjoint, origin=value.origin)


def _stack_of_sums(draft: Draft, value: Value, side: int, shares: tuple[_Share, ...]) -> Read:
    """The parts of a gradient, as rows (side 0) or columns (1) in their old order."""
    other = value.operands[1 - side]
    make = _sum_maker(draft, other, side, adjoint=value.adjoint)
    pieces: list[tuple[Range, Read]] = []
    for share in shares:
        made = make(share)
        for one in share.ranges:
            at = within(share.ranges, one)
            pieces.append((one, section(draft, made, side, (at,))))
    pieces.sort(key=lambda piece: piece[0])
    return draft.add(
        "stack", *(piece for _, piece in pieces), attributes=(side,), adjoint=value.adjoint
    )


def _sum_maker(draft: Draft, other: Read, side: int, *, adjoint: bool) -> Callable[[_Share], Read]:
    def made(share: _Share) -> Read:
        if share.is_symbol:
            extent = sum(stop - start for start, stop in share.ranges)
            shape = (extent, draft.width(other)) if side == 0 else (draft.width(other), extent)
            return draft.add(
                "indexed_sum", other, share.read, attributes=(side == 0, *shape), adjoint=adjoint
            )
        operands = (share.read, other) if side == 0 else (other, share.read)
        return draft.add("outer_sum", *operands, adjoint=adjoint)

    return made
