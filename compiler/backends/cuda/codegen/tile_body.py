"""The source of one stage: loads, products, what is made of them, stores.

Whatever drives it (one launch a step, a loop inside a kernel, all rows at once) has set these:
`row` and `b`, the place of each row of the tile among all (T B) rows and in its batch; `rows`,
whether it is there; `B`. A tile's columns are `u`, those that are there `inside`, its mask `at`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rnnc.compiler.backends.cuda.schedule.kernel_partition import Stage, Stages, Store
from rnnc.compiler.backends.cuda.schedule.matmul_operands import Product, products_of
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import Load, Piece, Source, Zero
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import BOUNDED, Read, Value
from rnnc.compiler.ir.ops import ELEMENTWISE, GROUPS
from rnnc.compiler.schedule.plan import Buffer, Plan

from .expressions import expression
from .kernel_arguments import Argument, Arguments, Case, is_wide


@dataclass
class Tile:
    """Writes the stages of one phase.

    holds: whether a state keeps its value where a row has ended, as it must in a loop.
    extent: how many columns a tile has, as Triton source.
    shared: the buffers that other programs write while this one runs.
    """

    stages: Stages
    case: Case
    holds: bool
    extent: str = "BN"
    shared: frozenset[int] = frozenset()
    arguments: Arguments = field(default_factory=Arguments)
    _named: dict[str, str] = field(default_factory=dict)
    _waiting: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self.stages.plan

    def columns(self, width: int, first: str) -> Iterator[str]:
        """Sets `u` and `at` for a stage; `first` is the tile's first column."""
        if width == 1:
            yield "at = rows[:, None]"
            return
        yield f"u = {first} + tl.arange(0, {self.extent})"
        yield f"inside = u < {width}"
        yield "at = rows[:, None] & inside[None, :]"

    def body(self, stage: Stage) -> Iterator[str]:
        """Everything between the columns of a stage and its end."""
        own = frozenset(stage.pieces)
        self.forget()
        yield from self.products(stage)
        yield from self.computed(stage.pieces, own)
        for store in stage.stores:
            yield from self.stored(store, own)

    def forget(self) -> None:
        """Nothing that was loaded so far is at hand any more."""
        self._named.clear()

    def computed(self, pieces: Iterable[Piece], own: frozenset[Piece]) -> Iterator[str]:
        """All pieces but products, from each other and from memory."""
        for piece in pieces:
            value = self.plan.flow.values[piece.value]
            if value.operation == "matmul":
                continue
            if value.operation in GROUPS:
                yield from self._group(value, piece)
            elif value.operation == "state":
                yield from self.loaded(self._state(value, piece, own))
            elif value.operation not in ELEMENTWISE:
                raise Unsupported(f"it has no kernel for `{value.operation}` in a loop")
            else:
                operands = [self.source(piece, read, own) for read in value.operands]
                if value.operation == "select" or all(o[:1] not in "vr" for o in operands):
                    operands = [o if o[:1] in "vr" else f"real({o})" for o in operands]
                line = f"{self.name(piece)} = {expression(value.operation, operands)}"
                yield from self.loaded(line)

    def loaded(self, line: str) -> Iterator[str]:
        """A line, after the loads that it waits for."""
        yield from self._waiting
        self._waiting.clear()
        yield line

    def name(self, piece: Piece) -> str:
        """The local name of a piece."""
        whole = piece.stop - piece.start == self.plan.flow.values[piece.value].shape[0]
        return f"v{piece.value}" if whole else f"v{piece.value}_{piece.start}"

    def source(self, piece: Piece, read: Read, own: frozenset[Piece]) -> str:
        """An operand's entries: a local name, or what loads them."""
        return self._text(self.stages.operand(piece, read), own)

    def _text(self, source: Source, own: frozenset[Piece]) -> str:
        if isinstance(source, Zero):
            return "0.0"
        if isinstance(source, Load):
            return self.at_hand(source.read, source.start, source.stop)
        if source in own:
            return self.name(source)
        return self.at_hand(Read(source.value), source.start, source.stop)

    def at_hand(self, read: Read, start: int, stop: int, *, cut: bool = True) -> str:
        """The local name of loaded entries; their load goes before the line that is being made."""
        text = self.load(read, start, stop, cut=cut)
        if self.plan.flow.values[read.value].operation == "constant":
            return text
        if text not in self._named:
            name = f"r{read.value}" + (f"_{start}" if start else "")
            name += f"_{moment(read.delay)}" if read.delay else ""
            name += "" if cut else "_held"
            self._named[text] = name
            self._waiting.append(f"{name} = {text}")
        return self._named[text]

    def products(self, stage: Stage) -> Iterator[str]:
        """The products of a stage; those of one vector share a loop over its entries."""
        shared: dict[tuple[Read, int, int], list[Product]] = {}
        for product in products_of(self.plan, stage):
            key = (product.vector, product.first, product.depth)
            shared.setdefault(key, []).append(product)
        for (vector, first, depth), products in shared.items():
            for product in products:
                yield f"{self.name(product.piece)} = tl.zeros((BM, {self.extent}), REAL)"
            yield f"for k0 in range(0, {depth}, BK):"
            yield "    k = k0 + tl.arange(0, BK)"
            yield f"    deep = k < {depth}"
            yield f"    x = {self.vector(vector, first, depth)}"
            for product in products:
                name = self.name(product.piece)
                yield f"    w = {self.weight(product, stage.width)}"
                yield f"    {name} = product(x, w, {name}, PRECISION)"
            if stage.width == 1:
                for product in products:
                    name = self.name(product.piece)
                    yield f"{name} = tl.sum({name}, 1)[:, None]"

    def vector(self, read: Read, first: int, depth: int, columns: str = "k") -> str:
        """What loads the entries `k` of a product's vector, those that are `deep` enough."""
        mask = "rows[:, None] & deep[None, :]"
        return self.load(read, first, first + depth, columns=columns, mask=mask)

    def weight(self, product: Product, width: int) -> str:
        """What loads the part of a matrix that a tile needs: entries `k`, and columns `u`."""
        base = self.arguments.add(Argument(f"w{product.matrix}", "whole", product.matrix))
        first = f"tl.arange(0, {self.extent})"
        column, inside = ("u", "inside") if width > 1 else (first, f"({first} < 1)")
        address = product.address(base, column)
        return f"tl.load({address}, mask=deep[:, None] & {inside}[None, :], other=0.0)"

    def _group(self, value: Value, piece: Piece) -> Iterator[str]:
        """Sums and maxima over neighbours, and their opposite, from memory."""
        read, k = value.operands[0], int(value.attributes[0])
        name = self.name(piece)
        u = "0" if piece.width == 1 and piece.start == 0 else f"(u + {piece.start})"
        if piece.width == 1:
            u = str(piece.start)
        if value.operation == "spread":
            width = self.plan.flow.values[read.value].shape[0]
            if piece.width == 1:
                yield f"{name} = {self.load(read, piece.start // k, piece.start // k + 1)}"
            else:
                columns = f"({u} // {k})"
                yield f"{name} = {self.load(read, 0, width, columns=columns, mask='at')}"
            return
        most = value.operation == "group_max"
        start = 'float("-inf")' if most else "0.0"
        extent = "1" if piece.width == 1 else self.extent
        yield f"{name} = tl.full((BM, {extent}), {start}, REAL)"
        yield f"for j in range(0, {k}):"
        if piece.width == 1:
            found = self.load(read, 0, 1, scalar=f"({u} * {k} + j)")
        else:
            found = self.load(read, 0, 0, columns=f"({u} * {k} + j)", mask="at")
        yield f"    entry = {found}"
        chosen = f"tl.where(entry > {name}, entry, {name})" if most else f"{name} + entry"
        yield f"    {name} = {chosen}"

    def _state(self, value: Value, piece: Piece, own: frozenset[Piece]) -> str:
        """The value that comes out of a step; where a row has ended, the one that went in."""
        name = self.name(piece)
        new = self.source(piece, value.operands[0], own)
        if not (self.case.lengths and self.holds):
            return f"{name} = {new}"
        held = self.outside(value, piece.start, piece.width, "u")
        if not self.runs_backward(value):
            held = self.at_hand(Read(value.number, 1), piece.start, piece.stop, cut=False)
        return f"{name} = tl.where({self.alive()}, {new}, {held})"

    def runs_backward(self, value: Value) -> bool:
        """Whether a state runs backward in time, so that it has no history."""
        graph = self.plan.flow.graph
        name = str(value.attributes[0])
        return any(s.name == name and s.node in graph.backward for s in graph.states)

    def load(
        self,
        read: Read,
        start: int,
        stop: int,
        *,
        columns: str = "u",
        scalar: str = "",
        mask: str = "",
        cut: bool = True,
    ) -> str:
        """Entries of a value in memory, as the tile sees them; as the call's own type for `k`."""
        value = self.plan.flow.values[read.value]
        if value.operation == "constant":
            return _literal(float(value.attributes[0]))
        width = 1 if scalar else stop - start if columns == "u" else 0
        if value.rate == "call":
            base = self.arguments.add(Argument(f"c{value.number}", "whole", value.number))
            if width == 1:
                return f"tl.load({base}{_plus(start)}).to(REAL)"
            address = f"{base}{_plus(start)} + ({columns})[None, :]"
            return f"tl.load({address}, mask=inside[None, :], other=0.0).to(REAL)"
        base, where, size = self._rows(read, value)
        if scalar:
            address = f"{base} + ({where} * {size} + {scalar})[:, None]"
        elif width == 1:
            address = f"{base} + ({where} * {size}{_plus(start)})[:, None]"
        else:
            address = f"{base} + ({where} * {size}{_plus(start)})[:, None] + {columns}[None, :]"
        inside = mask or ("rows[:, None]" if width == 1 else "at")
        found = f"tl.load({address}, mask={inside}, other=0.0{self._from(read)}).to(REAL)"
        bounded = value.operation in BOUNDED
        past = read.value not in self.plan.flow.pastless
        if not cut or not self.case.cuts(read.delay, bounded=bounded, past=past):
            return found
        other = "0.0"
        if value.operation == "state":
            other = self.outside(
                value, start, 1 if scalar else width, columns, scalar, mask or "at"
            )
        return f"tl.where({self.linked(read.delay, past=past)}, {found}, {other})"

    def alive(self) -> str:
        """Whether a row still has this step, a column."""
        name = self.arguments.add(Argument("alive", "alive"))
        return f"(tl.load({name} + row, mask=rows, other=0) != 0)[:, None]"

    def linked(self, delay: int, *, past: bool = True) -> str:
        """Whether the step `delay` ago belongs to the segment of this one, a column."""
        kind: Literal["linked", "within"] = "linked" if past or delay < 0 else "within"
        name = self.arguments.add(Argument(f"{kind}_{moment(delay)}", kind, delay))
        return f"(tl.load({name} + row, mask=rows, other=0) != 0)[:, None]"

    def outside(
        self,
        value: Value,
        start: int,
        width: int,
        columns: str,
        scalar: str = "",
        mask: str = "at",
    ) -> str:
        """What a state is before the segment of a step."""
        name = str(value.attributes[0])
        number = value.number
        base = self.arguments.add(Argument(f"initial_{number}", "initial", name))
        state = next(s for s in self.plan.flow.graph.states if s.name == name)
        drawn = state.initial.kind == "uniform" and self.case.resets
        at = f"{'row' if drawn else 'b'} * {value.shape[0]}"
        if scalar or width == 1:
            at = f"({at} + {scalar})[:, None]" if scalar else f"({at}{_plus(start)})[:, None]"
            return f"tl.load({base} + {at}, mask=rows[:, None], other=0.0).to(REAL)"
        at = f"({at}{_plus(start)})[:, None] + {columns}[None, :]"
        return f"tl.load({base} + {at}, mask={mask}, other=0.0).to(REAL)"

    def _rows(self, read: Read, value: Value) -> tuple[str, str, int]:
        """(argument, each row's number in it, entries a row) of a value of rows."""
        place = self.plan.places[read.value]
        if value.rate == "row":
            base = self.arguments.add(Argument(f"a{value.number}", "whole", value.number))
            return base, "b", value.shape[0]
        if place is not None:
            buffer = self.plan.buffers[place.buffer]
            base = f"b{place.buffer}{_plus(place.start)}"
            if buffer.extent == "step":
                self._buffer(buffer)
                return base, "b", buffer.width
            if 0 <= buffer.before - read.delay <= buffer.before + buffer.after:
                self._buffer(buffer)
                return base, _shifted(buffer.before - read.delay), buffer.width
        mark = f"_{moment(read.delay)}" if read.delay else ""
        name = self.arguments.add(Argument(f"x{value.number}{mark}", "series", read))
        return name, "row", value.shape[0]

    def _from(self, read: Read) -> str:
        """How what other programs have written is loaded: from where all of them see it."""
        place = self.plan.places[read.value]
        there = place is not None and place.buffer in self.shared
        return ', cache_modifier=".cg"' if there else ""

    def _buffer(self, buffer: Buffer) -> str:
        number = buffer.number
        return self.arguments.add(Argument(f"b{number}", "buffer", number, is_wide(buffer)))

    def stored(self, store: Store, own: frozenset[Piece]) -> Iterator[str]:
        """Put some entries into memory."""
        buffer = self.plan.buffers[store.buffer]
        base = self._buffer(buffer)
        where = "b" if buffer.extent == "step" else _shifted(buffer.before)
        address = f"{base} + ({where} * {buffer.width}{_plus(store.start)})[:, None]"
        if store.width != 1:
            address += " + u[None, :]"
        yield from self.loaded(f"tl.store({address}, {self._text(store.source, own)}, mask=at)")


def moment(delay: int) -> str:
    """A delay in a name."""
    return f"{abs(delay)}_{'ahead' if delay < 0 else 'ago'}"


def header(case: Case) -> Sequence[str]:
    """What every file of kernels begins with, before the functions of `expressions`."""
    return (
        "import triton",
        "import triton.language as tl",
        "",
        f"REAL = tl.constexpr(tl.{case.real})",
        f"TINY = tl.constexpr({case.tiny!r})",
    )


def _literal(number: float) -> str:
    if math.isfinite(number):
        return f"({number!r})" if number < 0 else repr(number)
    if number != number:
        return 'float("nan")'
    return f'float("{"inf" if number > 0 else "-inf"}")'


def _plus(number: int) -> str:
    return f" + {number}" if number else ""


def _shifted(steps: int) -> str:
    """Rows of a series, some steps further on."""
    if not steps:
        return "row"
    return f"(row + {'' if steps == 1 else f'{steps} * '}B)"
