"""The body of one stage's C function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.backends.cpu.schedule.frame_layout import (
    FrameLayout,
    is_in_register,
    matmul_sum_of,
)
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmDestination
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernel
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import GROUP_OPS

from .expressions import expression, literal
from .register_blocking import RegisterBlocking

COLUMN_BLOCK: Final = 4
"""Vectors of columns that stages without products are shared out by."""

ROW_CHUNK: Final = 96
"""The most rows of all steps that a call of a stage gets at a time."""

DEPTH_SLICE: Final = 128
"""Rows of a panel that all rows of a call meet before the next ones: four vectors of so many
columns stay in the nearest cache."""

_MAX_ACCUMULATOR_BYTES: Final = 96 * 1024
"""The most bytes that sums of all rows of a call may take on the stack."""


@dataclass(frozen=True)
class KernelBody:
    """The body of one stage's function."""

    layout: FrameLayout
    blocking: RegisterBlocking

    @property
    def kernel(self) -> CpuKernel:
        """The stage."""
        return self.blocking.kernel

    @property
    def _pair_suffix(self) -> str:
        """What names of one row's things end with: behind products two rows are in work at once.

        Between dependent operations of one row those of the other fill the time.
        """
        return "[q]" if self.kernel.matmul_sums else ""

    def _define(self, kind: str, name: str, text: str) -> str:
        if not self.kernel.matmul_sums:
            return f"{kind} {name} = {text};"
        return f"{kind} {name}[2]; PAIR {name}[q] = {text};"

    def _memory_operands(self) -> list[tuple[int, Operand]]:
        """What is read from memory, by the value that reads it."""
        flow = self.layout.flow
        found: dict[tuple[int, Operand], None] = {}
        for number in self.kernel.values:
            taken = matmul_sum_of(self.kernel, number)
            reads = flow.values[number].operands if taken is None else taken.epilogue_inputs
            if flow.values[number].operation == "matmul":
                reads = ()
            for read in reads:
                if not is_in_register(flow, self.kernel, number, read):
                    found[number, read] = None
        return list(found)

    def declare_pointers(self) -> Iterator[str]:
        """Local names of everything in memory."""
        flow = self.layout.flow
        vectors = [run.vector for run in self.blocking.microkernel_calls]
        reads = [*vectors, *(read for _, read in self._memory_operands())]
        yield from self.declare_operands(reads)
        for number in self.kernel.values:
            if self.layout.lookup_table_key(flow.values[number]):
                slot = self.layout.lookup_table_slot(flow.values[number])
                yield f"    const real *const table{number} = f->at[{slot}];"
            if number in self.layout.stored_values:
                yield f"    real *const to{number} = f->at[{number}];"

    def declare_operands(self, reads: Sequence[Operand]) -> Iterator[str]:
        """Local names of what is read."""
        for number in dict.fromkeys(read.value for read in reads):
            value = self.layout.flow.values[number]
            if value.operation == "constant":
                continue
            kind = "int32_t" if value.shape == () else "real"
            yield f"    const {kind} *const p{number} = f->at[{number}];"
            if number in self.layout.cotangent_stride_slots:
                yield f"    const long s{number} = (long)f->at[{self.layout.cotangent_stride_slots[number]}];"
        for slot in sorted({self._index_slot(read) for read in reads if read.delay}):
            yield f"    const int32_t *const x{slot} = f->index[{slot}];"

    def _index_slot(self, read: Operand) -> int:
        return self.layout.row_indices.index(self.layout.row_index_key(read))

    def _row_expression(self, read: Operand, n: str) -> str:
        """The row that a read finds for row n, as a C expression."""
        value = self.layout.flow.values[read.value]
        if value.rate == "row":
            return f"f->row_of[{n}]"
        return f"x{self._index_slot(read)}[{n}]" if read.delay else n

    @property
    def _row_variable(self) -> str:
        return "at[q]" if self.kernel.matmul_sums else "n"

    def row_address(self, read: Operand, n: str = "n") -> str:
        """Where row n finds what it reads, as a C expression."""
        value = self.layout.flow.values[read.value]
        if value.rate == "call":
            return f"p{read.value}"
        stride = self.layout.row_stride(read.value)
        step = f"s{read.value}" if read.value in self.layout.cotangent_stride_slots else stride
        return f"p{read.value} + (long){self._row_expression(read, n)} * {step}"

    def _row_name(self, read: Operand) -> str:
        """The row that is read, as C calls it."""
        return (
            f"r{read.value}"
            + (f"_{self._index_slot(read)}" if read.delay else "")
            + self._pair_suffix
        )

    def declare_rows(self) -> Iterator[str]:
        """Pointers to the rows that row n reads and writes."""
        values = self.layout.flow.values
        seen: set[str] = set()
        for number, read in self._memory_operands():
            value, name = values[read.value], self._row_name(read)
            if value.operation == "constant" or value.shape == () or name in seen:
                continue
            if values[number].operation == "lookup" and value.rate == "call":
                continue
            seen.add(name)
            yield self._define(
                "const real *", name.removesuffix("[q]"), self.row_address(read, self._row_variable)
            )
        for number in self.kernel.values:
            value = values[number]
            if self.layout.lookup_table_key(value):
                symbol = value.operands[-1]
                stride = self.layout.padded_width(value.shape[0])
                at = f"(long)p{symbol.value}[{self._row_expression(symbol, self._row_variable)}]"
                text = f"table{number} + {at} * {stride}"
                yield self._define("const real *", f"row{number}", text)
            if number in self.layout.stored_values:
                stride = self.layout.row_stride(number)
                yield self._define(
                    "real *", f"w{number}", f"to{number} + {self._row_variable} * {stride}"
                )

    def emit_columns(self) -> Iterator[str]:
        """The values at columns u to u + LANES."""
        flow, stage = self.layout.flow, self.kernel
        for number in stage.values:
            value = flow.values[number]
            found = matmul_sum_of(stage, number)
            if found is not None:
                place = stage.matmul_sums.index(found) * self.blocking.vectors_per_block
                terms = [f"LOAD(sum[q] + ({place} + v) * LANES)"]
                terms += [self._operand(number, read) for read in found.epilogue_inputs]
                text = " + ".join(terms)
            else:
                text = self._expression(value)
            yield self._define("vec", f"v{number}", text)
            if number in self.layout.stored_values:
                pair = "PAIR " if self.kernel.matmul_sums else ""
                yield f"{pair}STORE(w{number}{self._pair_suffix} + u, v{number}{self._pair_suffix});"

    def _expression(self, value: Value) -> str:
        if self.layout.lookup_table_key(value):
            return f"LOAD(row{value.id}{self._pair_suffix} + u)"
        if value.operation == "slice":
            start = int(value.attributes[0])
            return f"LOAD({self._row_name(value.operands[0])} + {start} + u)"
        if value.operation == "pad":
            read = value.operands[0]
            size = self.layout.flow.values[read.value].shape[0]
            return f"window({self._row_name(read)}, u - {int(value.attributes[0])}, {size})"
        operands = [self._operand(value.id, read) for read in value.operands]
        return expression(value.operation, operands)

    def _operand(self, number: int, read: Operand) -> str:
        if is_in_register(self.layout.flow, self.kernel, number, read):
            return f"v{read.value}{self._pair_suffix}"
        value = self.layout.flow.values[read.value]
        if value.operation == "constant":
            return f"splat({literal(float(value.attributes[0]))})"
        if value.shape == (1,):
            return f"splat({self._row_name(read)}[0])"
        return f"LOAD({self._row_name(read)} + u)"

    def emit_elementwise(self) -> Iterator[str]:
        """No products: rows, then columns."""
        width = COLUMN_BLOCK * self.layout.lanes
        yield "    for (long n = i0; n < i1; n++) {"
        for line in self.declare_rows():
            yield f"        {line}"
        most = self.kernel.width
        yield f"        const long end = j1 * {width} < {most} ? j1 * {width} : {most};"
        yield f"        for (long u = j0 * {width}; u < end; u += LANES) {{"
        for line in self.emit_columns():
            yield f"            {line}"
        yield "        }"
        yield "    }"

    def emit_gemm(
        self, offset: int, destinations: tuple[GemmDestination, ...], *, batched: bool
    ) -> Iterator[str]:
        """Blocks of columns, tiles of rows: products, then what is made of them.

        destinations: where they may lie already, if they may.
        batched: whether rows are those of all steps; deep panels are then taken in slices.
        """
        plan, stride = self.blocking, self.blocking.accumulator_size
        width = plan.vectors_per_block * self.layout.lanes
        bytes_ = 64 * stride // self.layout.lanes
        sliced = batched and max(run.depth for run in plan.microkernel_calls) > 2 * DEPTH_SLICE
        sliced &= ROW_CHUNK * bytes_ <= _MAX_ACCUMULATOR_BYTES
        held = f"{ROW_CHUNK}" if sliced else "TILE_ROWS"
        yield f"    real sums[{held} * {stride}] __attribute__((aligned(64)));"
        yield "    if (i1 <= i0) return;"
        yield "    const int most = tile_rows(i1 - i0);"
        tiles = "for (long i = i0; i < i1; i += most)"
        rows = "const int m = i1 - i < most ? (int)(i1 - i) : most;"
        there = "f->panels && !done" if destinations else "f->panels"
        first = f"{there} ? f->panels + {offset} + j * {plan.packed_block_size} : NULL;"
        if sliced:
            yield "    for (long j = j0; j < j1; j++) {"
            yield f"    const real *const first = {first}"
            yield from self._emit_depth_slices(tiles, rows)
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
        if destinations:
            yield "        if (done) {"
            yield from self._load_precomputed(destinations)
            begin = f"}} else {begin}"
        yield f"        {begin}"
        if not sliced:
            yield from self._emit_prefetches()
        yield "        const real *rows[TILE_ROWS];"
        before: Operand | None = None
        for run in plan.microkernel_calls:
            count = len(run.columns)
            if run.vector != before:
                yield from self._emit_row_pointers(run.vector)
                before = run.vector
            if not sliced:
                yield "        if (panel) {"
                yield (
                    f"            product(m, {count}, {run.depth}, rows, panel, "
                    f"tile + {run.first_accumulator} * LANES, {stride}, {int(run.accumulate)});"
                )
                yield f"            panel += {run.depth * count * self.layout.lanes};"
                yield "        } else {"
            for place, wide, term, v in run.weight_spans():
                yield (
                    f"            direct(m, {wide}, {run.depth}, rows, f->at[{term.weight}], "
                    f"{self.kernel.width}, {int(term.transposed)}, (j * {plan.vectors_per_block} + {v}) * "
                    f"LANES, tile + {run.first_accumulator + place} * LANES, {stride}, {int(run.accumulate)});"
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
        for line in self.declare_rows():
            yield f"            {line}"
        yield f"            for (long v = 0; v < {plan.vectors_per_block}; v++) {{"
        yield f"                const long u = j * {width} + v * LANES;"
        yield f"                if (u >= {self.kernel.width}) break;"
        for line in self.emit_columns():
            yield f"                {line}"
        yield "            }"
        yield "        }"
        yield "    }"
        if sliced:
            yield "    }"

    def _load_precomputed(self, landings: tuple[GemmDestination, ...]) -> Iterator[str]:
        """Products that are done, from where they lie."""
        plan, width = self.blocking, self.kernel.width
        for number, landing in enumerate(landings):
            place = number * plan.vectors_per_block
            row = f"to{landing.value} + (i + r) * {self.layout.row_stride(landing.value)}"
            yield "            for (long r = 0; r < m; r++) {"
            yield f"                const real *const row = {row};"
            yield f"                for (long v = 0; v < {plan.vectors_per_block}; v++) {{"
            yield f"                    const long u = (j * {plan.vectors_per_block} + v) * LANES;"
            yield f"                    if (u >= {width}) break;"
            yield (
                f"                    STORE(tile + r * {plan.accumulator_size} + ({place} + v) * LANES, "
                "LOAD(row + u));"
            )
            yield "                }"
            yield "            }"

    def _emit_depth_slices(self, tiles: str, m: str) -> Iterator[str]:
        """All rows of a call times one slice of a panel after the other, which stays near."""
        stride = self.blocking.accumulator_size
        yield "    const real *panel = first;"
        for run in self.blocking.microkernel_calls:
            count = len(run.columns)
            yield f"    for (long k = 0; panel && k < {run.depth}; k += {DEPTH_SLICE}) {{"
            yield f"        const long deep = {run.depth} - k < {DEPTH_SLICE} ? {run.depth} - k : {DEPTH_SLICE};"
            yield f"        {tiles} {{"
            yield f"        {m}"
            yield "        const real *rows[TILE_ROWS];"
            yield from self._emit_row_pointers(run.vector, " + k")
            if run is self.blocking.microkernel_calls[-1]:
                yield f"        if (k + deep == {run.depth}) {{"
                yield from self._emit_prefetches()
                yield "        }"
            yield (
                f"        product(m, {count}, deep, rows, panel, sums + (i - i0) * {stride} "
                f"+ {run.first_accumulator} * LANES, {stride}, {'1' if run.accumulate else 'k > 0'});"
            )
            yield "        }"
            yield f"        panel += deep * {count * self.layout.lanes};"
            yield "    }"

    def _emit_row_pointers(self, vector: Operand, shift: str = "") -> Iterator[str]:
        yield "        for (int r = 0; r < m; r++) {"
        yield "            const long n = i + r;"
        yield f"            rows[r] = {self.row_address(vector)}{shift};"
        yield "        }"

    def _emit_prefetches(self) -> Iterator[str]:
        """Have what is read and written behind the products on its way while they run.

        Rows of all values are far apart, and each is touched for a few lines: the processor does
        not foresee it.
        """
        values, layout = self.layout.flow.values, self.layout
        read = [
            self.row_address(read)
            for read in dict.fromkeys(read for _, read in self._memory_operands())
            if values[read.value].rate == "step" and values[read.value].shape[:1] > (1,)
        ]
        written = [
            f"to{number} + n * {layout.row_stride(number)}"
            for number in self.kernel.values
            if number in layout.stored_values
        ]
        yield "        for (int r = 0; r < m; r++) {"
        yield f"            const long n = i + r, u = j * {self.blocking.vectors_per_block * layout.lanes};"
        for address in (*read, *written):
            yield f"            ahead({address} + u, {self.blocking.vectors_per_block});"
        yield "        }"

    def emit_rowwise(self) -> Iterator[str]:
        """One value of whole vectors, row by row."""
        value = self.layout.flow.values[self.kernel.values[0]]
        yield "    for (long n = i0; n < i1; n++) {"
        for line in self.declare_rows():
            yield f"        {line}"
        to = f"w{value.id}"
        if value.operation in GROUP_OPS:
            read = value.operands[0]
            size = self.layout.flow.values[read.value].shape[0]
            count = int(value.attributes[0])
            yield f"        {value.operation}({to}, {self._row_name(read)}, {size}, {count});"
        else:
            start = 0
            for read in value.operands:
                part = self.layout.flow.values[read.value]
                size = part.shape[0]
                if part.operation == "constant":
                    yield f"        {to}[{start}] = {literal(float(part.attributes[0]))};"
                else:
                    yield (
                        f"        memcpy({to} + {start}, {self._row_name(read)}, "
                        f"{size} * sizeof(real));"
                    )
                start += size
        yield "    }"
