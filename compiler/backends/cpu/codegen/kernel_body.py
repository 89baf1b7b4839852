"""The body of one stage's C function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.backends.cpu.schedule.frame_layout import Layout, is_here, sum_of
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import Landing
from rnnc.compiler.backends.cpu.schedule.kernel_partition import Stage
from rnnc.compiler.ir.dataflow import Read, Value
from rnnc.compiler.ir.ops import GROUPS

from .expressions import expression, literal
from .register_blocking import Products

COLUMN_BLOCK: Final = 4
"""Vectors of columns that stages without products are shared out by."""

ROW_CHUNK: Final = 96
"""The most rows of all steps that a call of a stage gets at a time."""

DEEP: Final = 128
"""Rows of a panel that all rows of a call meet before the next ones: four vectors of so many
columns stay in the nearest cache."""

_SUMS: Final = 96 * 1024
"""The most bytes that sums of all rows of a call may take on the stack."""


@dataclass(frozen=True)
class Body:
    """The body of one stage's function."""

    layout: Layout
    plan: Products

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.plan.stage

    @property
    def _each(self) -> str:
        """What names of one row's things end with: behind products two rows are in work at once.

        Between dependent operations of one row those of the other fill the time.
        """
        return "[q]" if self.stage.sums else ""

    def _defined(self, kind: str, name: str, text: str) -> str:
        if not self.stage.sums:
            return f"{kind} {name} = {text};"
        return f"{kind} {name}[2]; PAIR {name}[q] = {text};"

    def _outside_reads(self) -> list[tuple[int, Read]]:
        """What is read from memory, by the value that reads it."""
        flow = self.layout.flow
        found: dict[tuple[int, Read], None] = {}
        for number in self.stage.values:
            taken = sum_of(self.stage, number)
            reads = flow.values[number].operands if taken is None else taken.rest
            if flow.values[number].operation == "matmul":
                reads = ()
            for read in reads:
                if not is_here(flow, self.stage, number, read):
                    found[number, read] = None
        return list(found)

    def pointers(self) -> Iterator[str]:
        """Local names of everything in memory."""
        flow = self.layout.flow
        vectors = [run.vector for run in self.plan.runs]
        reads = [*vectors, *(read for _, read in self._outside_reads())]
        yield from self.locals(reads)
        for number in self.stage.values:
            if self.layout.table_key(flow.values[number]):
                slot = self.layout.table_slot(flow.values[number])
                yield f"    const real *const table{number} = f->at[{slot}];"
            if number in self.layout.stored:
                yield f"    real *const to{number} = f->at[{number}];"

    def locals(self, reads: Sequence[Read]) -> Iterator[str]:
        """Local names of what is read."""
        for number in dict.fromkeys(read.value for read in reads):
            value = self.layout.flow.values[number]
            if value.operation == "constant":
                continue
            kind = "int32_t" if value.shape == () else "real"
            yield f"    const {kind} *const p{number} = f->at[{number}];"
            if number in self.layout.steps:
                yield f"    const long s{number} = (long)f->at[{self.layout.steps[number]}];"
        for slot in sorted({self._index(read) for read in reads if read.delay}):
            yield f"    const int32_t *const x{slot} = f->index[{slot}];"

    def _index(self, read: Read) -> int:
        return self.layout.indices.index(self.layout.index_key(read))

    def _row(self, read: Read, n: str) -> str:
        """The row that a read finds for row n, as a C expression."""
        value = self.layout.flow.values[read.value]
        if value.rate == "row":
            return f"f->row_of[{n}]"
        return f"x{self._index(read)}[{n}]" if read.delay else n

    @property
    def _n(self) -> str:
        return "at[q]" if self.stage.sums else "n"

    def address(self, read: Read, n: str = "n") -> str:
        """Where row n finds what it reads, as a C expression."""
        value = self.layout.flow.values[read.value]
        if value.rate == "call":
            return f"p{read.value}"
        stride = self.layout.stride(read.value)
        step = f"s{read.value}" if read.value in self.layout.steps else stride
        return f"p{read.value} + (long){self._row(read, n)} * {step}"

    def _name(self, read: Read) -> str:
        """The row that is read, as C calls it."""
        return f"r{read.value}" + (f"_{self._index(read)}" if read.delay else "") + self._each

    def rows(self) -> Iterator[str]:
        """Pointers to the rows that row n reads and writes."""
        values = self.layout.flow.values
        seen: set[str] = set()
        for number, read in self._outside_reads():
            value, name = values[read.value], self._name(read)
            if value.operation == "constant" or value.shape == () or name in seen:
                continue
            if values[number].operation == "lookup" and value.rate == "call":
                continue
            seen.add(name)
            yield self._defined(
                "const real *", name.removesuffix("[q]"), self.address(read, self._n)
            )
        for number in self.stage.values:
            value = values[number]
            if self.layout.table_key(value):
                symbol = value.operands[-1]
                stride = self.layout.padded(value.shape[0])
                at = f"(long)p{symbol.value}[{self._row(symbol, self._n)}]"
                text = f"table{number} + {at} * {stride}"
                yield self._defined("const real *", f"row{number}", text)
            if number in self.layout.stored:
                stride = self.layout.stride(number)
                yield self._defined("real *", f"w{number}", f"to{number} + {self._n} * {stride}")

    def columns(self) -> Iterator[str]:
        """The values at columns u to u + LANES."""
        flow, stage = self.layout.flow, self.stage
        for number in stage.values:
            value = flow.values[number]
            found = sum_of(stage, number)
            if found is not None:
                place = stage.sums.index(found) * self.plan.across
                terms = [f"LOAD(sum[q] + ({place} + v) * LANES)"]
                terms += [self._operand(number, read) for read in found.rest]
                text = " + ".join(terms)
            else:
                text = self._expression(value)
            yield self._defined("vec", f"v{number}", text)
            if number in self.layout.stored:
                pair = "PAIR " if self.stage.sums else ""
                yield f"{pair}STORE(w{number}{self._each} + u, v{number}{self._each});"

    def _expression(self, value: Value) -> str:
        if self.layout.table_key(value):
            return f"LOAD(row{value.number}{self._each} + u)"
        if value.operation == "slice":
            start = int(value.attributes[0])
            return f"LOAD({self._name(value.operands[0])} + {start} + u)"
        if value.operation == "pad":
            read = value.operands[0]
            size = self.layout.flow.values[read.value].shape[0]
            return f"window({self._name(read)}, u - {int(value.attributes[0])}, {size})"
        operands = [self._operand(value.number, read) for read in value.operands]
        return expression(value.operation, operands)

    def _operand(self, number: int, read: Read) -> str:
        if is_here(self.layout.flow, self.stage, number, read):
            return f"v{read.value}{self._each}"
        value = self.layout.flow.values[read.value]
        if value.operation == "constant":
            return f"splat({literal(float(value.attributes[0]))})"
        if value.shape == (1,):
            return f"splat({self._name(read)}[0])"
        return f"LOAD({self._name(read)} + u)"

    def elementwise(self) -> Iterator[str]:
        """No products: rows, then columns."""
        width = COLUMN_BLOCK * self.layout.lanes
        yield "    for (long n = i0; n < i1; n++) {"
        for line in self.rows():
            yield f"        {line}"
        most = self.stage.width
        yield f"        const long end = j1 * {width} < {most} ? j1 * {width} : {most};"
        yield f"        for (long u = j0 * {width}; u < end; u += LANES) {{"
        for line in self.columns():
            yield f"            {line}"
        yield "        }"
        yield "    }"

    def with_products(
        self, offset: int, landings: tuple[Landing, ...], *, batched: bool
    ) -> Iterator[str]:
        """Blocks of columns, tiles of rows: products, then what is made of them.

        landings: where they may lie already, if they may.
        batched: whether rows are those of all steps; deep panels are then taken in slices.
        """
        plan, stride = self.plan, self.plan.sums_size
        width = plan.across * self.layout.lanes
        bytes_ = 64 * stride // self.layout.lanes
        sliced = batched and max(run.depth for run in plan.runs) > 2 * DEEP
        sliced &= ROW_CHUNK * bytes_ <= _SUMS
        held = f"{ROW_CHUNK}" if sliced else "TILE_ROWS"
        yield f"    real sums[{held} * {stride}] __attribute__((aligned(64)));"
        yield "    if (i1 <= i0) return;"
        yield "    const int most = tile_rows(i1 - i0);"
        tiles = "for (long i = i0; i < i1; i += most)"
        rows = "const int m = i1 - i < most ? (int)(i1 - i) : most;"
        there = "f->panels && !done" if landings else "f->panels"
        first = f"{there} ? f->panels + {offset} + j * {plan.block_size} : NULL;"
        if sliced:
            yield "    for (long j = j0; j < j1; j++) {"
            yield f"    const real *const first = {first}"
            yield from self._slices(tiles, rows)
            yield f"    {tiles} {{"
            yield f"        {rows}"
            yield "        const real *panel = first;"
            yield f"        real *const tile = sums + (i - i0) * {stride};"
            begin = "if (!panel) {"
        else:
            yield f"    for (long j = j0; j < j1; j++) {tiles} {{"
            yield f"        {rows}"
            yield f"        const real *panel = {first}"
            yield "        real *const tile = sums;"
            begin = "{"
        if landings:
            yield "        if (done) {"
            yield from self._landed(landings)
            begin = f"}} else {begin}"
        yield f"        {begin}"
        if not sliced:
            yield from self._prefetches()
        yield "        const real *rows[TILE_ROWS];"
        before: Read | None = None
        for run in plan.runs:
            count = len(run.columns)
            if run.vector != before:
                yield from self._find_rows(run.vector)
                before = run.vector
            if not sliced:
                yield "        if (panel) {"
                yield (
                    f"            product(m, {count}, {run.depth}, rows, panel, "
                    f"tile + {run.first} * LANES, {stride}, {int(run.more)});"
                )
                yield f"            panel += {run.depth * count * self.layout.lanes};"
                yield "        } else {"
            for place, wide, term, v in run.matrices():
                yield (
                    f"            direct(m, {wide}, {run.depth}, rows, f->at[{term.weight}], "
                    f"{self.stage.width}, {int(term.transposed)}, (j * {plan.across} + {v}) * "
                    f"LANES, tile + {run.first + place} * LANES, {stride}, {int(run.more)});"
                )
            if not sliced:
                yield "        }"
        yield "        }"
        # Of an odd number of rows the last one is computed twice.
        yield "        for (int r = 0; r < m; r += 2) {"
        yield "            const long at[2] = {i + r, i + (r + 1 < m ? r + 1 : r)};"
        yield (
            "            const real *const sum[2] = "
            f"{{tile + r * {stride}, tile + (at[1] - i) * {stride}}};"
        )
        for line in self.rows():
            yield f"            {line}"
        yield f"            for (long v = 0; v < {plan.across}; v++) {{"
        yield f"                const long u = j * {width} + v * LANES;"
        yield f"                if (u >= {self.stage.width}) break;"
        for line in self.columns():
            yield f"                {line}"
        yield "            }"
        yield "        }"
        yield "    }"
        if sliced:
            yield "    }"

    def _landed(self, landings: tuple[Landing, ...]) -> Iterator[str]:
        """Products that are done, from where they lie."""
        plan, width = self.plan, self.stage.width
        for number, landing in enumerate(landings):
            place = number * plan.across
            row = f"to{landing.value} + (i + r) * {self.layout.stride(landing.value)}"
            yield "            for (long r = 0; r < m; r++) {"
            yield f"                const real *const row = {row};"
            yield f"                for (long v = 0; v < {plan.across}; v++) {{"
            yield f"                    const long u = (j * {plan.across} + v) * LANES;"
            yield f"                    if (u >= {width}) break;"
            yield (
                f"                    STORE(tile + r * {plan.sums_size} + ({place} + v) * LANES, "
                "LOAD(row + u));"
            )
            yield "                }"
            yield "            }"

    def _slices(self, tiles: str, m: str) -> Iterator[str]:
        """All rows of a call times one slice of a panel after the other, which stays near."""
        stride = self.plan.sums_size
        yield "    const real *panel = first;"
        for run in self.plan.runs:
            count = len(run.columns)
            yield f"    for (long k = 0; panel && k < {run.depth}; k += {DEEP}) {{"
            yield f"        const long deep = {run.depth} - k < {DEEP} ? {run.depth} - k : {DEEP};"
            yield f"        {tiles} {{"
            yield f"        {m}"
            yield "        const real *rows[TILE_ROWS];"
            yield from self._find_rows(run.vector, " + k")
            if run is self.plan.runs[-1]:
                yield f"        if (k + deep == {run.depth}) {{"
                yield from self._prefetches()
                yield "        }"
            yield (
                f"        product(m, {count}, deep, rows, panel, sums + (i - i0) * {stride} "
                f"+ {run.first} * LANES, {stride}, {'1' if run.more else 'k > 0'});"
            )
            yield "        }"
            yield f"        panel += deep * {count * self.layout.lanes};"
            yield "    }"

    def _find_rows(self, vector: Read, shift: str = "") -> Iterator[str]:
        yield "        for (int r = 0; r < m; r++) {"
        yield "            const long n = i + r;"
        yield f"            rows[r] = {self.address(vector)}{shift};"
        yield "        }"

    def _prefetches(self) -> Iterator[str]:
        """Have what is read and written behind the products on its way while they run.

        Rows of all values are far apart, and each is touched for a few lines: the processor does
        not foresee it.
        """
        values, layout = self.layout.flow.values, self.layout
        read = [
            self.address(read)
            for read in dict.fromkeys(read for _, read in self._outside_reads())
            if values[read.value].rate == "step" and values[read.value].shape[:1] > (1,)
        ]
        written = [
            f"to{number} + n * {layout.stride(number)}"
            for number in self.stage.values
            if number in layout.stored
        ]
        yield "        for (int r = 0; r < m; r++) {"
        yield f"            const long n = i + r, u = j * {self.plan.across * layout.lanes};"
        for address in (*read, *written):
            yield f"            ahead({address} + u, {self.plan.across});"
        yield "        }"

    def whole(self) -> Iterator[str]:
        """One value of whole vectors, row by row."""
        value = self.layout.flow.values[self.stage.values[0]]
        yield "    for (long n = i0; n < i1; n++) {"
        for line in self.rows():
            yield f"        {line}"
        to = f"w{value.number}"
        if value.operation in GROUPS:
            read = value.operands[0]
            size = self.layout.flow.values[read.value].shape[0]
            count = int(value.attributes[0])
            yield f"        {value.operation}({to}, {self._name(read)}, {size}, {count});"
        else:
            start = 0
            for read in value.operands:
                part = self.layout.flow.values[read.value]
                size = part.shape[0]
                if part.operation == "constant":
                    yield f"        {to}[{start}] = {literal(float(part.attributes[0]))};"
                else:
                    yield (
                        f"        memcpy({to} + {start}, {self._name(read)}, "
                        f"{size} * sizeof(real));"
                    )
                start += size
        yield "    }"
