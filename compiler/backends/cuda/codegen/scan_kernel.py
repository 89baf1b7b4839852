"""The source of a scan: v[t] = a[t] ⊙ v[t-1] + b[t], in either direction of time.

Composition of x -> a x + b is associative, so a block of steps is solved by a parallel scan over
its pairs (a, b); the value that goes into a block is then put in: v = g v_in + v₀, with g the
product of the slopes so far, and v₀ the block's answer from zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from rnnc.compiler.backends.cuda.schedule.kernel_partition import Store
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import Piece
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import BOUNDED, Read
from rnnc.compiler.schedule.plan import Phase

from .tile_body import Tile


def scan_lines(tile: Tile, phase: Phase) -> Iterator[str]:
    """The body of the kernel of a phase whose cycle is one `linear` value.

    Raises:
        Unsupported: when what moved into the scan is of several widths.
    """
    values = tile.plan.flow.values
    pieces = list(chain.from_iterable(stage.pieces for stage in tile.stages.stages))
    width = max(piece.width for piece in pieces)
    if any(piece.width not in {1, width} for piece in pieces):
        raise Unsupported("a scan of several widths")
    order = {number: index for index, number in enumerate(phase.values)}
    pieces.sort(key=lambda piece: (order[piece.value], piece.start))
    turning = [piece for piece in pieces if values[piece.value].operation == "linear"]
    later = {values[p.value].operands[2].value for p in turning} | {p.value for p in turning}
    own = frozenset(pieces)
    back = phase.direction < 0

    yield "b = tl.program_id(0).to(tl.int64) + tl.zeros((BM,), tl.int64)"
    yield f"u = tl.program_id(1) * BN + tl.arange(0, {'1' if width == 1 else 'BN'})"
    yield f"inside = u < {width}"
    yield "last = tl.arange(0, BM) == BM - 1"
    for piece in turning:
        yield from _entering(tile, piece, width, back)
    yield "for first in range(0, steps, BM):"
    yield "    done = first + tl.arange(0, BM).to(tl.int64)"
    yield "    rows = done < steps"
    yield f"    row = {'(steps - 1 - done)' if back else 'done'} * B + b"
    yield "    at = rows[:, None] & inside[None, :]"
    before = [p for p in pieces if p.value not in later]
    tile.forget()
    for line in tile.computed(before, own):
        yield f"    {line}"
    for piece in turning:
        for line in _solved(tile, piece, own):
            yield f"    {line}"
    for piece in pieces:
        if piece.value in later and piece not in turning:
            read = values[piece.value].operands[0]
            yield f"    {tile.name(piece)} = {tile.source(piece, read, own)}"
    stores: list[Store] = [s for stage in tile.stages.stages for s in stage.stores]
    for store in stores:
        for line in tile.stored(store, own):
            yield f"    {line}"


def _entering(tile: Tile, piece: Piece, width: int, back: bool) -> Iterator[str]:
    """What the first step finds before it: in the margin of the value's own series."""
    turn = tile.plan.flow.values[piece.value].operands[2]
    yield f"row = {'tl.cast(steps - 1, tl.int64) * B + b' if back else 'b'}"
    yield "rows = (tl.arange(0, BM) == 0) & (steps > 0)"
    yield "at = rows[:, None] & inside[None, :]"
    found = tile.load(turn, piece.start, piece.stop, cut=False)
    yield f"into_{tile.name(piece)} = tl.sum({found}, 0)[None, :]"


def _solved(tile: Tile, piece: Piece, own: frozenset[Piece]) -> Iterator[str]:
    value, name = tile.plan.flow.values[piece.value], tile.name(piece)
    slope, offset, turn = value.operands
    extent = "1" if piece.width == 1 else "BN"
    whole = f"tl.zeros((BM, {extent}), REAL)"
    yield from tile.loaded(f"a = {tile.source(piece, slope, own)} + {whole}")
    yield from tile.loaded(f"c = {tile.source(piece, offset, own)} + {whole}")
    yield from _cut(tile, piece, turn)
    yield "a = tl.where(rows[:, None], a, 1.0)"
    yield "c = tl.where(rows[:, None], c, 0.0)"
    yield "gain, found = tl.associative_scan((a, c), 0, compose)"
    yield f"{name} = found + gain * into_{name}"
    yield f"into_{name} = tl.sum(tl.where(last[:, None], {name}, 0.0), 0)[None, :]"


def _cut(tile: Tile, piece: Piece, turn: Read) -> Iterator[str]:
    """Begin anew with each segment; hold still where a row has ended, or is yet to begin."""
    source = tile.plan.flow.values[turn.value]
    state = source.operation == "state"
    if tile.case.cuts(turn.delay, bounded=source.operation in BOUNDED):
        yield f"linked = {tile.linked(turn.delay)}"
        if state:
            outside = tile.outside(source, piece.start, piece.width, "u")
            yield f"c = tl.where(linked, c, c + a * {outside})"
        yield "a = tl.where(linked, a, 0.0)"
    if tile.case.lengths:
        yield f"living = {tile.alive()}"
        yield f"a = tl.where(living, a, {1.0 if state and turn.delay > 0 else 0.0})"
        yield "c = tl.where(living, c, 0.0)"
