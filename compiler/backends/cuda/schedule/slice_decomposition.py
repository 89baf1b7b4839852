"""Decompose values into slices whose entry j depends on entry j of other slices alone.

    y = σ(z[0:3n]), i = y[0:n], f = y[n:2n]   ->   y₀ = σ(z₀), y₁ = σ(z₁), y₂ = σ(z₂); i is y₀

This undoes the concatenations of earlier passes (as SROA does for aggregates): all gates of a unit
are then in the registers of one tile, and slices, paddings and concatenations cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS

MOVEMENT_OPS: Final = frozenset({"slice", "concatenate", "pad", "stopgrad"})
"""Operations that only move entries: their slices are slices of their operands."""


@dataclass(frozen=True, slots=True, order=True)
class ValueSlice:
    """Entries `start` to `stop` of a value that the decomposed phase computes."""

    value: int
    start: int
    stop: int

    @property
    def width(self) -> int:
        """Return the number of entries."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class MemorySlice:
    """Entries `start` to `stop` of an operand in memory."""

    operand: Operand
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ZeroPadding:
    """Entries that are zero by padding."""


SliceSource = ValueSlice | MemorySlice | ZeroPadding


class SliceDecomposition:
    """The slices of values that one phase computes, by a fixed point over slice boundaries.

    keep_blocks: whether a block-diagonal matmul stays one slice, and is not cut into its blocks.
    """

    def __init__(
        self, dataflow: Dataflow, value_ids: Iterable[int], *, keep_blocks: bool = False
    ) -> None:
        self.dataflow, self.keep_blocks = dataflow, keep_blocks
        self.local_values = frozenset(value_ids)
        self._boundaries = {n: {0, dataflow.values[n].shape[0]} for n in self.local_values}
        self._propagate_boundaries()

    def slices_of(self, value_id: int) -> tuple[ValueSlice, ...]:
        """Return the slices of a value in order."""
        boundaries = sorted(self._boundaries[value_id])
        return tuple(ValueSlice(value_id, a, b) for a, b in pairwise(boundaries))

    def resolve(self, operand: Operand, start: int, stop: int) -> SliceSource:
        """Trace entries within one slice of an operand back through movement ops."""
        if operand.delay or operand.value not in self.local_values:
            return MemorySlice(operand, start, stop)
        value = self.dataflow.values[operand.value]
        match value.operation:
            case "slice":
                first = int(value.attributes[0])
                return self.resolve(value.operands[0], start + first, stop + first)
            case "stopgrad":
                return self.resolve(value.operands[0], start, stop)
            case "pad":
                first = int(value.attributes[0])
                width = self.dataflow.values[value.operands[0].value].shape[0]
                if first <= start and stop <= first + width:
                    return self.resolve(value.operands[0], start - first, stop - first)
                return ZeroPadding()
            case "concatenate":
                for source, first in self._concatenated_operands(value):
                    width = self.dataflow.values[source.value].shape[0]
                    if first <= start and stop <= first + width:
                        return self.resolve(source, start - first, stop - first)
        return ValueSlice(operand.value, start, stop)

    def _concatenated_operands(self, value: Value) -> Iterator[tuple[Operand, int]]:
        """Yield each operand of a concatenation with its first entry in the result."""
        start = 0
        for operand in value.operands:
            yield operand, start
            start += self.dataflow.values[operand.value].shape[0]

    def _propagate_boundaries(self) -> None:
        """Propagate slice boundaries along index links to a fixed point."""
        links = [link for value in sorted(self.local_values) for link in self._index_links(value)]
        changed = True
        while changed:
            changed = False
            for value_id, operand_id, shift in links:
                boundaries = self._boundaries[value_id]
                operand_boundaries = self._boundaries[operand_id]
                width, operand_width = max(boundaries), max(operand_boundaries)
                new_in_operand = {
                    cut + shift for cut in boundaries if 0 <= cut + shift <= operand_width
                } - operand_boundaries
                new_in_value = {
                    cut - shift for cut in operand_boundaries if 0 <= cut - shift <= width
                } - boundaries
                operand_boundaries |= new_in_operand
                boundaries |= new_in_value
                changed |= bool(new_in_operand or new_in_value)

    def _index_links(self, value_id: int) -> Iterator[tuple[int, int, int]]:
        """Yield (value, operand, shift): entry j of the value reads entry j + shift.

        Boundaries that the operation itself introduces are added on the way.
        """
        value = self.dataflow.values[value_id]
        if value.operation == "matmul":
            weight = self.dataflow.values[value.operands[0].value].shape
            if len(weight) == 3 and not self.keep_blocks:
                block = weight[2] if value.attributes[0] else weight[1]
                self._boundaries[value_id] |= set(range(0, value.shape[0], block))
        if value.operation == "concatenate":
            for operand, start in self._concatenated_operands(value):
                self._boundaries[value_id].add(start)
                if operand.value in self.local_values and not operand.delay:
                    yield value_id, operand.value, -start
            return
        if value.operation == "pad":
            first = int(value.attributes[0])
            width = self.dataflow.values[value.operands[0].value].shape[0]
            self._boundaries[value_id] |= {first, first + width}
        for operand in value.operands:
            if operand.value not in self.local_values:
                continue
            if value.operation in {"slice", "pad"}:
                first = int(value.attributes[0])
                yield value_id, operand.value, first if value.operation == "slice" else -first
            elif (
                value.operation in ELEMENTWISE_OPS or value.operation in {"state", "stopgrad"}
            ) and self.dataflow.values[operand.value].shape == value.shape:
                yield value_id, operand.value, 0
