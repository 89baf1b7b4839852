"""Values -> stages: what one kernel, or one stretch between two barriers, can compute.

Inside of a stage all pieces are of one width, and entry j of each needs entries j of the stage
alone; whatever else is read is finished and in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Read, Value
from rnnc.compiler.ir.ops import WIDE
from rnnc.compiler.schedule.plan import Plan

from .slice_decomposition import ALIASES, Load, Piece, Pieces, Source


@dataclass(frozen=True, slots=True)
class Store:
    """Entries that go to memory: of `value`, from entry `start` of a buffer's rows on."""

    source: Source
    value: int
    buffer: int
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Pieces in an order in which they can be computed.

    level: how many stages must be finished before; those of one level need nothing of each other.
    """

    level: int
    width: int
    pieces: tuple[Piece, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Stages:
    """The stages of some values of a plan, and the pieces they are made of."""

    plan: Plan
    pieces: Pieces
    stages: tuple[Stage, ...]

    def operand(self, piece: Piece, read: Read) -> Source:
        """Where a piece of an entrywise value finds its entries of an operand."""
        if self.plan.flow.values[read.value].shape == (1,):
            return self.pieces.find(read, 0, 1)
        return self.pieces.find(read, piece.start, piece.stop)


def stages_of(plan: Plan, numbers: Sequence[int], *, whole: bool = False) -> Stages:
    """The stages that compute some values of one phase, given in an order that can be computed.

    whole: as in `Pieces`.
    """
    pieces = Pieces(plan.flow, numbers, whole=whole)
    levels = _levels(plan, pieces, numbers)
    stored = _stored(plan, pieces, numbers, levels)
    buckets: dict[tuple[int, int], list[Piece]] = {}
    for piece, level in levels.items():
        buckets.setdefault((level, piece.width), []).append(piece)
    stores = _stores(plan, pieces, numbers, stored)
    placed: dict[tuple[int, int], list[Store]] = {}
    for store in stores:
        source = store.source
        level = levels[source] if isinstance(source, Piece) else 0
        placed.setdefault((level, store.width), []).append(store)
    found = tuple(
        Stage(*key, tuple(buckets.get(key, ())), tuple(placed.get(key, ())))
        for key in sorted({*buckets, *placed})
    )
    return Stages(plan, pieces, found)


def _levels(plan: Plan, pieces: Pieces, numbers: Sequence[int]) -> dict[Piece, int]:
    """For each piece that is computed its level, in order; what is only copied has level 0."""
    values = plan.flow.values
    levels: dict[Piece, int] = {}
    for number in numbers:
        value = values[number]
        if value.operation in ALIASES:
            continue
        for piece in pieces.of(number):
            level = 0
            for read in value.operands:
                if read.value not in pieces.inside or read.delay:
                    continue
                for source, apart in _sources(pieces, value, piece, read):
                    if isinstance(source, Piece):
                        level = max(level, levels[source] + apart)
                    elif value.operation in WIDE:
                        level = max(level, 1)
            levels[piece] = level
    return levels


def _sources(
    pieces: Pieces, value: Value, piece: Piece, read: Read
) -> Iterable[tuple[Source, bool]]:
    """The pieces that one needs of an operand, and whether they must be in memory by then."""
    values = pieces.flow.values
    if value.operation in WIDE:
        for part in pieces.of(read.value):
            yield pieces.find(read, part.start, part.stop), True
    elif values[read.value].shape == (1,):
        yield pieces.find(read, 0, 1), piece.width != 1
    else:
        yield pieces.find(read, piece.start, piece.stop), False


def _stored(
    plan: Plan, pieces: Pieces, numbers: Sequence[int], levels: dict[Piece, int]
) -> set[Piece]:
    """The pieces, aliases too, that somebody reads from memory."""
    flow = plan.flow
    kept = {read.value for read in flow.results}
    whole = {
        number
        for number in numbers
        if number in kept
        or number in flow.gradients_of
        or flow.values[number].operation == "state"
        or any(reader not in pieces.inside for reader in flow.readers[number])
    }
    found: set[Piece] = set()
    for number in numbers:
        value = flow.values[number]
        for read in value.operands:
            if read.value not in pieces.inside:
                continue
            if read.delay or value.operation in WIDE:
                whole.add(read.value)
            elif value.operation not in ALIASES:
                for piece in pieces.of(number):
                    for source, _ in _sources(pieces, value, piece, read):
                        same = isinstance(source, Piece) and (
                            levels[source] == levels[piece] and source.width == piece.width
                        )
                        if isinstance(source, Piece) and not same:
                            found.add(source)
    return found | {piece for number in whole for piece in pieces.of(number)}


def _stores(
    plan: Plan, pieces: Pieces, numbers: Sequence[int], stored: set[Piece]
) -> tuple[Store, ...]:
    """What goes where; where two values share their memory the later one, a state, wins."""
    found: dict[tuple[int, int], Store] = {}
    for number in numbers:
        place = plan.places[number]
        assert place is not None, plan.flow.values[number]
        for piece in pieces.of(number):
            if piece not in stored:
                continue
            source = pieces.find(Read(number), piece.start, piece.stop)
            at = (place.buffer, place.start + piece.start)
            if isinstance(source, Load) and not source.read.delay:
                there = plan.places[source.read.value]
                if there is not None and (there.buffer, there.start + source.start) == at:
                    continue
            found.pop(at, None)
            found[at] = Store(source, number, at[0], at[1], piece.width)
    return tuple(found.values())
