"""Stages -> C: one function a stage, one a unit."""

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

from .kernel_body import COLUMN_BLOCK, ROW_CHUNK, KernelBody
from .register_blocking import RegisterBlocking
from .window_kernel import emit_window_kernel

_HEADERS: Final = (
    *("vec.h", "vec_math.h", "gemm_microkernel.h", "gemm_few_rows.h", "group_reduce.h"),
    *("sliding_window.h", "kernel_frame.h", "weight_grad_gemm.h", "job_runner.h"),
)
_CACHE_BLOCK_NUMBERS: Final = 1 << 17
"""Numbers that may lie between one pass over some rows and the next one, to be found near."""


def tile_vectors(isa: CpuIsa) -> int:
    """How many vectors of columns a tile of products has (`products.h`)."""
    return 4 if isa == "avx512" else 2


def prelude(isa: CpuIsa, *, double: bool) -> str:
    """The part of every file that no model changes."""
    real, integer = ("double", "int64_t") if double else ("float", "int32_t")
    head = (
        f"#define REAL {real}\n#define INTEGER {integer}\n#define IS_DOUBLE {int(double)}\n"
        f"#define VECTOR_BYTES {VECTOR_BYTES[isa]}\n"
    )
    folder = Path(__file__).parent.parent / "csrc"
    return head + "\n".join((folder / part).read_text(encoding="utf-8") for part in _HEADERS)


@dataclass(frozen=True)
class CEmitter:
    """Writes the C functions of a model; `name` keeps several models in one file apart."""

    layout: FrameLayout
    tile_vectors: int
    name: str = "m_model"

    def emit(self) -> str:
        """All functions of the model."""
        units = (unit for unit in self.layout.kernel_groups if not unit.runs_in_aten)
        return "".join("\n".join(self._group_lines(unit)) + "\n" for unit in units)

    def function_name(self, unit: CpuKernelGroup) -> str:
        """The name of a unit's function."""
        return f"{self.name}_unit_{unit.index}"

    def register_blockings(self, unit: CpuKernelGroup) -> list[RegisterBlocking]:
        """The products of each stage of a unit."""
        return [RegisterBlocking(self.layout, stage, self.tile_vectors) for stage in unit.kernels]

    def packed_size(self, unit: CpuKernelGroup) -> int:
        """How many numbers the packed matrices of a unit take."""
        return sum(
            p.block_count * p.packed_block_size
            for p in self.register_blockings(unit)
            if p.kernel.matmul_sums
        )

    def _group_lines(self, unit: CpuKernelGroup) -> Iterator[str]:
        offset = 0
        plans = self.register_blockings(unit)
        landings = {
            wide.kernel_index: wide.destinations
            for wide in find_library_candidates(self.layout, unit)
        }
        for index, plan in enumerate(plans):
            yield from self._kernel_lines(unit, index, plan, offset, landings.get(index, ()))
            if plan.kernel.matmul_sums:
                offset += plan.block_count * plan.packed_block_size
        yield f"void {self.function_name(unit)}(const Frame *f, long along) {{"
        yield "    Gate gate = {0, 0};"
        yield "    PARALLEL {"
        yield "    const long thread = THREAD, threads = THREADS;"
        if any(plan.kernel.matmul_sums for plan in plans):
            yield "    if (f->panels) {"
            offset = 0
            for index, plan in enumerate(plans):
                if plan.kernel.matmul_sums:
                    if not unit.direction:
                        done = f"f->done && f->first == {index}"
                        yield f"    if (f->first <= {index} && {index} < f->last && !({done}))"
                    yield from self._packing_lines(plan, offset)
                    offset += plan.block_count * plan.packed_block_size
            yield "    BARRIER"
            yield "    }"
        yield from (
            self._loop_lines(unit, plans) if unit.direction else self._batched_lines(unit, plans)
        )
        yield "    }"
        yield "}"

    def _packing_lines(self, plan: RegisterBlocking, offset: int) -> Iterator[str]:
        lanes = self.layout.lanes
        yield f"    for (long j = thread; j < {plan.block_count}; j += threads) {{"
        yield f"        real *panel = f->panels + {offset} + j * {plan.packed_block_size};"
        for run in plan.microkernel_calls:
            count = len(run.columns)
            for place, (term, v) in enumerate(run.columns):
                yield (
                    f"        pack(f->at[{term.weight}], {plan.kernel.width}, {run.depth}, "
                    f"{int(term.transposed)}, (j * {plan.vectors_per_block} + {v}) * LANES, "
                    f"panel + {place * lanes}, {count * lanes});"
                )
            yield f"        panel += {run.depth * count * lanes};"
        yield "    }"

    def _batched_lines(self, unit: CpuKernelGroup, plans: list[RegisterBlocking]) -> Iterator[str]:
        # As many chunks for each thread, of even size.
        yield f"    const long most = {ROW_CHUNK} * threads;"
        yield "    const long each = (f->total + most - 1) / most;"
        yield "    const long chunks = each * threads;"
        yield "    for (long c = each * thread; c < each * (thread + 1); c++) {"
        yield "        const long i0 = f->total * c / chunks, i1 = f->total * (c + 1) / chunks;"
        wide = {found.kernel_index for found in find_library_candidates(self.layout, unit)}
        for some in _cache_blocks(plans):
            numbers = sum(p.kernel.width * len(p.kernel.values) for _, p in some)
            few = max(1, _CACHE_BLOCK_NUMBERS // numbers)
            split = len(some) > 1 and few < ROW_CHUNK
            if split:
                # Few rows through all of these stages: what one leaves is near for the next.
                yield f"        for (long n0 = i0; n0 < i1; n0 += {few}) {{"
                yield f"        const long n1 = n0 + {few} < i1 ? n0 + {few} : i1;"
            rows = "n0, n1" if split else "i0, i1"
            for index, plan in some:
                blocks = str(self._column_blocks(plan))
                call = self._kernel_call(unit, index, rows, "0", blocks)
                if index in wide:
                    # Products that are done are read row by row.
                    yield f"        if (f->done && f->first == {index})"
                    yield "            for (long n = i0; n < i1; n += TILE_ROWS) {"
                    yield "            const long end = n + TILE_ROWS < i1 ? n + TILE_ROWS : i1;"
                    yield f"            {self._kernel_call(unit, index, 'n, end', '0', blocks)}"
                    yield "            }"
                here = f"if (f->first <= {index} && {index} < f->last)"
                yield f"        {'else ' if index in wide else ''}{here} {call}"
            if split:
                yield "        }"
        yield "    }"

    def _loop_lines(self, unit: CpuKernelGroup, plans: list[RegisterBlocking]) -> Iterator[str]:
        yield "    const Share s = share_of(f, along, thread, threads);"
        steps = (
            "for (long t = 0; t < f->steps; t++)"
            if unit.direction > 0
            else "for (long t = f->steps - 1; t >= 0; t--)"
        )
        yield f"    {steps} {{"
        yield "        const long lives = f->offset[t + 1] - f->offset[t];"
        yield "        const long i0 = f->offset[t] + (s.first < lives ? s.first : lives);"
        yield "        const long i1 = f->offset[t] + (s.last < lives ? s.last : lives);"
        for index, plan in enumerate(plans):
            if plan.kernel.needs_barrier:
                yield "        if (along > 1) { BARRIER }"
            if plan.kernel.rowwise:
                rows = "i0 + (i1 - i0) * s.column / along, i0 + (i1 - i0) * (s.column + 1) / along"
                yield f"        {self._kernel_call(unit, index, rows, '0', '1')}"
            else:
                blocks = self._column_blocks(plan)
                first, last = (
                    f"{blocks} * {where} / along" for where in ("s.column", "(s.column + 1)")
                )
                yield f"        {self._kernel_call(unit, index, 'i0, i1', first, last)}"
        yield "        if (along > 1) { BARRIER }"
        yield "    }"

    def _kernel_call(
        self, unit: CpuKernelGroup, index: int, rows: str, first: str, last: str
    ) -> str:
        return f"{self.function_name(unit)}_{index}(f, {rows}, {first}, {last});"

    def _column_blocks(self, plan: RegisterBlocking) -> int:
        if plan.kernel.rowwise:
            return 1
        if plan.kernel.matmul_sums:
            return plan.block_count
        return -(-plan.kernel.width // (COLUMN_BLOCK * self.layout.lanes))

    def _kernel_lines(
        self,
        unit: CpuKernelGroup,
        index: int,
        plan: RegisterBlocking,
        offset: int,
        landings: tuple[GemmDestination, ...],
    ) -> Iterator[str]:
        yield (
            f"static void {self.function_name(unit)}_{index}"
            "(const Frame *f, long i0, long i1, long j0, long j1) {"
        )
        body = KernelBody(self.layout, plan)
        if self.layout.flow.values[plan.kernel.values[0]].operation in WINDOW_OPS:
            yield from emit_window_kernel(body)
            yield "}"
            return
        yield from body.declare_pointers()
        if plan.kernel.rowwise:
            yield from body.emit_rowwise()
        elif plan.kernel.matmul_sums:
            if landings:
                yield f"    const int done = f->done && f->first == {index};"
            yield from body.emit_gemm(offset, landings, batched=not unit.direction)
        else:
            yield from body.emit_elementwise()
        yield "}"


def _cache_blocks(plans: list[RegisterBlocking]) -> list[list[tuple[int, RegisterBlocking]]]:
    """Stages in groups: those with products alone, others with their neighbours."""
    found: list[list[tuple[int, RegisterBlocking]]] = []
    for index, plan in enumerate(plans):
        if not found or plan.kernel.matmul_sums or found[-1][-1][1].kernel.matmul_sums:
            found.append([])
        found[-1].append((index, plan))
    return found
