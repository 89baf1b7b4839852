"""C bodies of kernels with matmuls: blocks of columns, tiles of rows, then the epilogue.

For each block of columns and tile of rows the micro-kernel fills accumulators, and the epilogue
computes on them two rows at a time. Panels are packed (`f->panels`) or, for few rows, matrices are
read in place. Rows of all steps and deep panels go slice by slice, so that a slice stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from rnnc.compiler.backends.cpu.schedule.frame_layout import matmul_sum_of
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmDestination
from rnnc.compiler.ir.dataflow import Operand, Value

from .kernel_body import KernelBody
from .register_blocking import MicrokernelCall

ROW_CHUNK: Final = 96
"""The most rows of a batched kernel's call: 16 full tiles, whose accumulators fit the stack."""

DEPTH_SLICE: Final = 128
"""Rows of a panel that all rows of a call meet before the next ones: four vectors of so many
columns stay in the first-level cache."""

_MAX_ACCUMULATOR_BYTES: Final = 96 * 1024
"""The most bytes that accumulators of all rows of a call may take on the stack."""

_VECTOR_BYTES: Final = 64
"""Bytes of the widest vectors: the limit then means as many accumulators on each processor."""

_TILES: Final = "for (long i = i0; i < i1; i += tile_size)"
_TILE_SIZE: Final = "const int m = i1 - i < tile_size ? (int)(i1 - i) : tile_size;"


@dataclass(frozen=True)
class GemmBody(KernelBody):
    """Writes the C of one kernel with matmul sums.

    Its epilogue works on two rows at once: between dependent operations of one row the processor
    computes those of the other.
    """

    pair: ClassVar[str] = "PAIR "
    suffix: ClassVar[str] = "[q]"
    row: ClassVar[str] = "pair_row[q]"

    def emit_gemm(
        self, offset: int, destinations: tuple[GemmDestination, ...], *, batched: bool
    ) -> Iterator[str]:
        """Write a kernel with matmul sums.

        offset: of the kernel's panels among those of its group, in numbers.
        destinations: buffers where the library may have left the sums.
        batched: true if rows are those of all steps.
        """
        blocking, stride = self.blocking, self.blocking.accumulator_size
        sliced = batched and self._fits_depth_slices()
        kept_rows = f"{ROW_CHUNK}" if sliced else "TILE_ROWS"
        yield f"    real accumulators[{kept_rows} * {stride}] __attribute__((aligned(64)));"
        yield "    if (i1 <= i0) return;"
        yield "    const int tile_size = even_tile_rows(i1 - i0);"
        condition = "f->panels && !gemm_done" if destinations else "f->panels"
        panel = f"f->panels + {offset} + j * {blocking.packed_block_size}"
        first = f"{condition} ? {panel} : NULL;"
        if sliced:
            yield "    for (long j = j0; j < j1; j++) {"
            yield f"    const real *const first_panel = {first}"
            yield from self._emit_depth_slices()
            yield f"    {_TILES} {{"
            yield f"        {_TILE_SIZE}"
            yield "        const real *panel = first_panel;"
            yield f"        real *const tile = accumulators + (i - i0) * {stride};"
            begin = "if (!panel) {"
        else:
            yield f"    for (long j = j0; j < j1; j++) {_TILES} {{"
            yield f"        {_TILE_SIZE}"
            yield f"        const real *panel = {first}"
            yield "        real *const tile = accumulators;"
            begin = "{"
        if destinations:
            yield "        if (gemm_done) {"
            yield from self._load_library_sums(destinations)
            begin = f"}} else {begin}"
        yield f"        {begin}"
        yield from self._emit_tile(packed=not sliced)
        yield "        }"
        yield from self._emit_epilogue()
        yield "    }"
        if sliced:
            yield "    }"

    def _fits_depth_slices(self) -> bool:
        """Return true if panels are deep, and accumulators of all rows fit the stack."""
        depth = max(call.depth for call in self.blocking.microkernel_calls)
        row_bytes = _VECTOR_BYTES * self.blocking.accumulator_size // self.layout.lanes
        return depth > 2 * DEPTH_SLICE and ROW_CHUNK * row_bytes <= _MAX_ACCUMULATOR_BYTES

    def _emit_tile(self, *, packed: bool) -> Iterator[str]:
        """Fill the accumulators of a tile from panels (if `packed`), or from matrices in place."""
        if packed:
            yield from self._emit_prefetches()
        yield "        const real *rows[TILE_ROWS];"
        previous: Operand | None = None
        for call in self.blocking.microkernel_calls:
            if call.vector != previous:
                yield from self._emit_row_pointers(call.vector)
                previous = call.vector
            if packed:
                count = len(call.columns)
                target = f"tile + {call.first_accumulator} * LANES"
                yield "        if (panel) {"
                yield (
                    f"            gemm_microkernel(m, {count}, {call.depth}, rows, panel, "
                    f"{target}, {self.blocking.accumulator_size}, {int(call.accumulate)});"
                )
                yield f"            panel += {call.depth * count * self.layout.lanes};"
                yield "        } else {"
            yield from self._emit_few_rows(call)
            if packed:
                yield "        }"

    def _emit_few_rows(self, call: MicrokernelCall) -> Iterator[str]:
        width, stride = self.kernel.width, self.blocking.accumulator_size
        for position, count, term, v in call.weight_spans():
            arguments = f"{call.depth}, rows, f->slots[{term.weight}], {width}"
            column = f"(j * {self.blocking.vectors_per_block} + {v}) * LANES"
            target = f"tile + {call.first_accumulator + position} * LANES"
            yield (
                f"            gemm_few_rows(m, {count}, {arguments}, "
                f"{int(term.transposed)}, {column}, {target}, {stride}, {int(call.accumulate)});"
            )

    def _emit_epilogue(self) -> Iterator[str]:
        stride, vectors = self.blocking.accumulator_size, self.blocking.vectors_per_block
        # Of an odd number of rows the last one is computed twice.
        yield "        for (int r = 0; r < m; r += 2) {"
        yield "            const long pair_row[2] = {i + r, i + (r + 1 < m ? r + 1 : r)};"
        yield (
            "            const real *const sum[2] = "
            f"{{tile + r * {stride}, tile + (pair_row[1] - i) * {stride}}};"
        )
        for line in self.declare_rows():
            yield f"            {line}"
        yield f"            for (long v = 0; v < {vectors}; v++) {{"
        yield f"                const long u = j * {vectors * self.layout.lanes} + v * LANES;"
        yield f"                if (u >= {self.kernel.width}) break;"
        for line in self.emit_columns():
            yield f"                {line}"
        yield "            }"
        yield "        }"

    def _load_library_sums(self, destinations: tuple[GemmDestination, ...]) -> Iterator[str]:
        """Copy the sums that the library has computed from their buffers to the accumulators."""
        stride, vectors = self.blocking.accumulator_size, self.blocking.vectors_per_block
        for index, destination in enumerate(destinations):
            row_stride = self.layout.row_stride(destination.value)
            row = f"to{destination.value} + (i + r) * {row_stride}"
            target = f"tile + r * {stride} + ({index * vectors} + v) * LANES"
            yield "            for (long r = 0; r < m; r++) {"
            yield f"                const real *const row = {row};"
            yield f"                for (long v = 0; v < {vectors}; v++) {{"
            yield f"                    const long u = (j * {vectors} + v) * LANES;"
            yield f"                    if (u >= {self.kernel.width}) break;"
            yield f"                    STORE({target}, LOAD(row + u));"
            yield "                }"
            yield "            }"

    def _emit_depth_slices(self) -> Iterator[str]:
        """Multiply all rows of a call by one slice of a panel after the other."""
        stride, calls = self.blocking.accumulator_size, self.blocking.microkernel_calls
        yield "    const real *panel = first_panel;"
        for call in calls:
            count, depth = len(call.columns), call.depth
            accumulate = "1" if call.accumulate else "k > 0"
            target = f"accumulators + (i - i0) * {stride} + {call.first_accumulator} * LANES"
            slice_depth = f"{depth} - k < {DEPTH_SLICE} ? {depth} - k : {DEPTH_SLICE}"
            yield f"    for (long k = 0; panel && k < {depth}; k += {DEPTH_SLICE}) {{"
            yield f"        const long depth = {slice_depth};"
            yield f"        {_TILES} {{"
            yield f"        {_TILE_SIZE}"
            yield "        const real *rows[TILE_ROWS];"
            yield from self._emit_row_pointers(call.vector, " + k")
            if call is calls[-1]:
                yield f"        if (k + depth == {depth}) {{"
                yield from self._emit_prefetches()
                yield "        }"
            yield (
                f"        gemm_microkernel(m, {count}, depth, rows, panel, {target}, "
                f"{stride}, {accumulate});"
            )
            yield "        }"
            yield f"        panel += depth * {count * self.layout.lanes};"
            yield "    }"

    def _emit_row_pointers(self, vector: Operand, shift: str = "") -> Iterator[str]:
        yield "        for (int r = 0; r < m; r++) {"
        yield "            const long n = i + r;"
        yield f"            rows[r] = {self.row_address(vector)}{shift};"
        yield "        }"

    def _emit_prefetches(self) -> Iterator[str]:
        """Prefetch what the epilogue reads and stores while the micro-kernel runs.

        Rows of different values are far apart and a few cache lines long, so that the hardware
        prefetcher does not foresee them.
        """
        values, layout = self.layout.flow.values, self.layout
        vectors = self.blocking.vectors_per_block
        loads = [
            self.row_address(operand)
            for operand in dict.fromkeys(operand for _, operand in self.memory_operands())
            if values[operand.value].rate == "step" and values[operand.value].shape[:1] > (1,)
        ]
        stores = [
            f"to{value_id} + n * {layout.row_stride(value_id)}"
            for value_id in self.kernel.values
            if value_id in layout.stored_values
        ]
        yield "        for (int r = 0; r < m; r++) {"
        yield f"            const long n = i + r, u = j * {vectors * layout.lanes};"
        for address in (*loads, *stores):
            yield f"            prefetch({address} + u, {vectors});"
        yield "        }"

    def _define(self, kind: str, name: str, text: str) -> str:
        return f"{kind} {name}[2]; {self.pair}{name}{self.suffix} = {text};"

    def _value_expression(self, value: Value) -> str:
        matmuls = matmul_sum_of(self.kernel, value.id)
        if matmuls is None:
            return super()._value_expression(value)
        first = self.kernel.matmul_sums.index(matmuls) * self.blocking.vectors_per_block
        inputs = [self.operand_expression(value.id, operand) for operand in matmuls.epilogue_inputs]
        return " + ".join([f"LOAD(sum[q] + ({first} + v) * LANES)", *inputs])
