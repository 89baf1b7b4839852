"""Values cut into pieces, so that entry j of a piece needs entries j of other pieces alone.

    y = σ(z[0:3n]), i = y[0:n], f = y[n:2n]   ->   y₀ = σ(z₀), y₁ = σ(z₁), y₂ = σ(z₂); i is y₀

What passes put side by side is taken apart again: then all gates of a unit are in one tile, in
registers, and slices, paddings and concatenations cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rnnc.compiler.ir.dataflow import Flow, Read, Value
from rnnc.compiler.ir.ops import ELEMENTWISE

ALIASES: Final = frozenset({"slice", "concatenate", "pad", "stopgrad"})
"""Operations whose pieces are pieces of their operands."""


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """Entries `start` to `stop` of a value that is computed here."""

    value: int
    start: int
    stop: int

    @property
    def width(self) -> int:
        """How many entries it has."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Load:
    """Entries of a value that is in memory."""

    read: Read
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Zero:
    """Entries that a padding has put there."""


Source = Piece | Load | Zero


class Pieces:
    """The pieces of some values of a flow that are computed together.

    whole: whether a block-diagonal product stays in one piece, and is not cut into its blocks.
    """

    def __init__(self, flow: Flow, numbers: Iterable[int], *, whole: bool = False) -> None:
        self.flow, self.whole = flow, whole
        self.inside = frozenset(numbers)
        self._cuts = {n: {0, flow.values[n].shape[0]} for n in self.inside}
        self._settle()

    def of(self, number: int) -> tuple[Piece, ...]:
        """The pieces of a value."""
        cuts = sorted(self._cuts[number])
        return tuple(Piece(number, a, b) for a, b in pairwise(cuts))

    def find(self, read: Read, start: int, stop: int) -> Source:
        """Where some entries come from, which lie in one piece of what is read."""
        if read.delay or read.value not in self.inside:
            return Load(read, start, stop)
        value = self.flow.values[read.value]
        match value.operation:
            case "slice":
                first = int(value.attributes[0])
                return self.find(value.operands[0], start + first, stop + first)
            case "stopgrad":
                return self.find(value.operands[0], start, stop)
            case "pad":
                first = int(value.attributes[0])
                width = self.flow.values[value.operands[0].value].shape[0]
                if first <= start and stop <= first + width:
                    return self.find(value.operands[0], start - first, stop - first)
                return Zero()
            case "concatenate":
                for part, first in self._parts(value):
                    width = self.flow.values[part.value].shape[0]
                    if first <= start and stop <= first + width:
                        return self.find(part, start - first, stop - first)
        return Piece(read.value, start, stop)

    def _parts(self, value: Value) -> Iterator[tuple[Read, int]]:
        start = 0
        for read in value.operands:
            yield read, start
            start += self.flow.values[read.value].shape[0]

    def _settle(self) -> None:
        """Carry cuts along until none is new."""
        links = [link for number in sorted(self.inside) for link in self._links(number)]
        changed = True
        while changed:
            changed = False
            for number, other, shift in links:
                mine, theirs = self._cuts[number], self._cuts[other]
                width, wide = max(mine), max(theirs)
                down = {cut + shift for cut in mine if 0 <= cut + shift <= wide} - theirs
                up = {cut - shift for cut in theirs if 0 <= cut - shift <= width} - mine
                theirs |= down
                mine |= up
                changed |= bool(down or up)

    def _links(self, number: int) -> Iterator[tuple[int, int, int]]:
        """(value, operand, shift): entry j of the value is entry j + shift of the operand."""
        value = self.flow.values[number]
        if value.operation == "matmul":
            weight = self.flow.values[value.operands[0].value].shape
            if len(weight) == 3 and not self.whole:
                block = weight[2] if value.attributes[0] else weight[1]
                self._cuts[number] |= set(range(0, value.shape[0], block))
        if value.operation == "concatenate":
            for read, start in self._parts(value):
                self._cuts[number].add(start)
                if read.value in self.inside and not read.delay:
                    yield number, read.value, -start
            return
        if value.operation == "pad":
            first = int(value.attributes[0])
            width = self.flow.values[value.operands[0].value].shape[0]
            self._cuts[number] |= {first, first + width}
        for read in value.operands:
            if read.value not in self.inside:
                continue
            if value.operation in {"slice", "pad"}:
                first = int(value.attributes[0])
                yield number, read.value, first if value.operation == "slice" else -first
            elif (
                value.operation in ELEMENTWISE or value.operation in {"state", "stopgrad"}
            ) and self.flow.values[read.value].shape == value.shape:
                yield number, read.value, 0
