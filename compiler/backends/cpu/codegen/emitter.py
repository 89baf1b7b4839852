"""C emitter: kernel groups -> one C function each, and one static function for each kernel.

A batched group splits all rows into chunks among threads and runs its kernels on each chunk. A loop
runs its kernels step by step, where threads split sequences, or columns with barriers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rnnc.compiler.backends.cpu.schedule.frame_layout import FrameLayout
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import (
    GemmDestination,
    find_library_candidates,
)
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernelGroup
from rnnc.compiler.backends.cpu.toolchain.c_compiler import VECTOR_BYTES, CpuIsa
from rnnc.compiler.ir.ops import WINDOW_OPS

from .gemm_body import ROW_CHUNK, GemmBody
from .kernel_body import COLUMN_BLOCK, KernelBody
from .register_blocking import RegisterBlocking
from .window_kernel import emit_window_kernel

_HEADERS: Final = (
    *("vec.h", "vec_math.h", "gemm_microkernel.h", "gemm_few_rows.h", "group_reduce.h"),
    *("sliding_window.h", "kernel_frame.h", "weight_grad_gemm.h", "job_runner.h"),
)
_CSRC: Final = Path(__file__).parents[1] / "csrc"

_CACHE_BLOCK_NUMBERS: Final = 1 << 17
"""Numbers that kernels may write for some rows before the next kernel reads them: half a megabyte
in float32, which a second-level cache holds."""


def tile_vectors(isa: CpuIsa) -> int:
    """Return the vectors of columns of a micro-kernel tile (`csrc/gemm_microkernel.h`)."""
    return 4 if isa == "avx512" else 2


def prelude(isa: CpuIsa, *, double: bool) -> str:
    """Return the C that is the same for all models of a dtype and instruction set."""
    real, integer = ("double", "int64_t") if double else ("float", "int32_t")
    head = (
        f"#define REAL {real}\n#define INTEGER {integer}\n#define IS_DOUBLE {int(double)}\n"
        f"#define VECTOR_BYTES {VECTOR_BYTES[isa]}\n"
    )
    return head + "\n".join((_CSRC / name).read_text(encoding="utf-8") for name in _HEADERS)


@dataclass(frozen=True)
class CEmitter:
    """Writes the C functions of a model.

    tile_vectors: as of the function of this name.
    name: a prefix of all functions, which keeps several models in one file apart.
    """

    layout: FrameLayout
    tile_vectors: int
    name: str = "m_model"

    def emit(self) -> str:
        """Write all functions of the model."""
        groups = (group for group in self.layout.kernel_groups if not group.runs_in_aten)
        return "".join("\n".join(self._group_lines(group)) + "\n" for group in groups)

    def function_name(self, group: CpuKernelGroup) -> str:
        """Return the C name of a group's function."""
        return f"{self.name}_group_{group.index}"

    def register_blockings(self, group: CpuKernelGroup) -> list[RegisterBlocking]:
        """Return the register blocking of each kernel of a group."""
        return [
            RegisterBlocking(self.layout, kernel, self.tile_vectors) for kernel in group.kernels
        ]

    def packed_size(self, group: CpuKernelGroup) -> int:
        """Return the numbers that the packed matrices of a group take."""
        return sum(
            blocking.block_count * blocking.packed_block_size
            for blocking in self.register_blockings(group)
            if blocking.kernel.matmul_sums
        )

    def _group_lines(self, group: CpuKernelGroup) -> Iterator[str]:
        offset = 0
        blockings = self.register_blockings(group)
        destinations = {
            candidate.kernel_index: candidate.destinations
            for candidate in find_library_candidates(self.layout, group)
        }
        for index, blocking in enumerate(blockings):
            library = destinations.get(index, ())
            yield from self._kernel_lines(group, index, blocking, offset, library)
            if blocking.kernel.matmul_sums:
                offset += blocking.block_count * blocking.packed_block_size
        yield f"void {self.function_name(group)}(const Frame *f, long column_threads) {{"
        yield "    SpinBarrier barrier = {0, 0};"
        yield "    PARALLEL {"
        yield "    const long thread = THREAD, threads = THREADS;"
        if any(blocking.kernel.matmul_sums for blocking in blockings):
            yield "    if (f->panels) {"
            yield from self._packing_lines(group, blockings)
            yield "    BARRIER"
            yield "    }"
        if group.direction:
            yield from self._loop_lines(group, blockings)
        else:
            yield from self._batched_lines(group, blockings)
        yield "    }"
        yield "}"

    def _packing_lines(
        self, group: CpuKernelGroup, blockings: list[RegisterBlocking]
    ) -> Iterator[str]:
        """Pack the matrices of all kernels that run, unless the library has computed the sums."""
        offset = 0
        for index, blocking in enumerate(blockings):
            if not blocking.kernel.matmul_sums:
                continue
            if not group.direction:
                done = f"f->gemm_done && f->first_kernel == {index}"
                yield f"    if (f->first_kernel <= {index} && {index} < f->end_kernel && !({done}))"
            yield from self._pack_kernel_lines(blocking, offset)
            offset += blocking.block_count * blocking.packed_block_size

    def _pack_kernel_lines(self, blocking: RegisterBlocking, offset: int) -> Iterator[str]:
        lanes, width = self.layout.lanes, blocking.kernel.width
        yield f"    for (long j = thread; j < {blocking.block_count}; j += threads) {{"
        yield f"        real *panel = f->panels + {offset} + j * {blocking.packed_block_size};"
        for call in blocking.microkernel_calls:
            count = len(call.columns)
            for position, (term, v) in enumerate(call.columns):
                yield (
                    f"        pack_panel(f->slots[{term.weight}], {width}, {call.depth}, "
                    f"{int(term.transposed)}, (j * {blocking.vectors_per_block} + {v}) * LANES, "
                    f"panel + {position * lanes}, {count * lanes});"
                )
            yield f"        panel += {call.depth * count * lanes};"
        yield "    }"

    def _batched_lines(
        self, group: CpuKernelGroup, blockings: list[RegisterBlocking]
    ) -> Iterator[str]:
        # As many chunks for each thread, of even size.
        yield f"    const long chunk_rows = {ROW_CHUNK} * threads;"
        yield "    const long chunks_each = (f->row_count + chunk_rows - 1) / chunk_rows;"
        yield "    const long chunks = chunks_each * threads;"
        yield "    for (long c = chunks_each * thread; c < chunks_each * (thread + 1); c++) {"
        yield "        const long i0 = f->row_count * c / chunks;"
        yield "        const long i1 = f->row_count * (c + 1) / chunks;"
        candidates = find_library_candidates(self.layout, group)
        in_library = {candidate.kernel_index for candidate in candidates}
        for block in _cache_blocks(blockings):
            row_numbers = sum(b.kernel.width * len(b.kernel.values) for _, b in block)
            row_limit = max(1, _CACHE_BLOCK_NUMBERS // row_numbers)
            split = len(block) > 1 and row_limit < ROW_CHUNK
            if split:
                # Few rows through all kernels of the block: results stay in cache for the next one.
                yield f"        for (long n0 = i0; n0 < i1; n0 += {row_limit}) {{"
                yield f"        const long n1 = n0 + {row_limit} < i1 ? n0 + {row_limit} : i1;"
            rows = "n0, n1" if split else "i0, i1"
            for index, blocking in block:
                columns = str(self._column_blocks(blocking))
                call = self._kernel_call(group, index, rows, "0", columns)
                if index in in_library:
                    # Sums of the library lie row by row: all column blocks of some rows in turn.
                    yield f"        if (f->gemm_done && f->first_kernel == {index})"
                    yield "            for (long n = i0; n < i1; n += TILE_ROWS) {"
                    yield "            const long end = n + TILE_ROWS < i1 ? n + TILE_ROWS : i1;"
                    yield f"            {self._kernel_call(group, index, 'n, end', '0', columns)}"
                    yield "            }"
                condition = f"if (f->first_kernel <= {index} && {index} < f->end_kernel)"
                yield f"        {'else ' if index in in_library else ''}{condition} {call}"
            if split:
                yield "        }"
        yield "    }"

    def _loop_lines(
        self, group: CpuKernelGroup, blockings: list[RegisterBlocking]
    ) -> Iterator[str]:
        yield "    const ThreadShare s = thread_share(f, column_threads, thread, threads);"
        steps = (
            "for (long t = 0; t < f->steps; t++)"
            if group.direction > 0
            else "for (long t = f->steps - 1; t >= 0; t--)"
        )
        yield f"    {steps} {{"
        yield "        const long running = f->step_offset[t + 1] - f->step_offset[t];"
        yield "        const long i0 = f->step_offset[t] + (s.first < running ? s.first : running);"
        yield "        const long i1 = f->step_offset[t] + (s.end < running ? s.end : running);"
        for index, blocking in enumerate(blockings):
            if blocking.kernel.needs_barrier:
                yield "        if (column_threads > 1) { BARRIER }"
            if blocking.kernel.rowwise:
                first, end = (
                    f"i0 + (i1 - i0) * {share} / column_threads"
                    for share in ("s.column_thread", "(s.column_thread + 1)")
                )
                yield f"        {self._kernel_call(group, index, f'{first}, {end}', '0', '1')}"
            else:
                columns = self._column_blocks(blocking)
                first, end = (
                    f"{columns} * {share} / column_threads"
                    for share in ("s.column_thread", "(s.column_thread + 1)")
                )
                yield f"        {self._kernel_call(group, index, 'i0, i1', first, end)}"
        yield "        if (column_threads > 1) { BARRIER }"
        yield "    }"

    def _kernel_call(
        self, group: CpuKernelGroup, index: int, rows: str, first: str, end: str
    ) -> str:
        return f"{self.function_name(group)}_{index}(f, {rows}, {first}, {end});"

    def _column_blocks(self, blocking: RegisterBlocking) -> int:
        if blocking.kernel.rowwise:
            return 1
        if blocking.kernel.matmul_sums:
            return blocking.block_count
        return -(-blocking.kernel.width // (COLUMN_BLOCK * self.layout.lanes))

    def _kernel_lines(
        self,
        group: CpuKernelGroup,
        index: int,
        blocking: RegisterBlocking,
        offset: int,
        destinations: tuple[GemmDestination, ...],
    ) -> Iterator[str]:
        yield (
            f"static void {self.function_name(group)}_{index}"
            "(const Frame *f, long i0, long i1, long j0, long j1) {"
        )
        kernel = blocking.kernel
        if kernel.matmul_sums:
            gemm = GemmBody(self.layout, blocking)
            yield from gemm.declare_pointers()
            if destinations:
                yield f"    const int gemm_done = f->gemm_done && f->first_kernel == {index};"
            yield from gemm.emit_gemm(offset, destinations, batched=not group.direction)
        else:
            body = KernelBody(self.layout, blocking)
            if self.layout.flow.values[kernel.values[0]].operation in WINDOW_OPS:
                yield from emit_window_kernel(body)
            else:
                yield from body.declare_pointers()
                yield from body.emit_rowwise() if kernel.rowwise else body.emit_elementwise()
        yield "}"


def _cache_blocks(blockings: list[RegisterBlocking]) -> list[list[tuple[int, RegisterBlocking]]]:
    """Group kernels without matmuls with their neighbors; those with matmuls stay alone."""
    blocks: list[list[tuple[int, RegisterBlocking]]] = []
    for index, blocking in enumerate(blockings):
        starts_block = blocking.kernel.matmul_sums or not blocks
        if starts_block or blocks[-1][-1][1].kernel.matmul_sums:
            blocks.append([])
        blocks[-1].append((index, blocking))
    return blocks
