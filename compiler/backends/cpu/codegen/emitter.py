"""Stages -> C: one function a stage, one a unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rnnc.compiler.backends.cpu.schedule.frame_layout import Layout
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import Landing, wide_stages
from rnnc.compiler.backends.cpu.schedule.kernel_partition import Unit
from rnnc.compiler.backends.cpu.toolchain.c_compiler import VECTOR_BYTES, Level
from rnnc.compiler.ir.ops import WINDOWS

from .kernel_body import COLUMN_BLOCK, ROW_CHUNK, Body
from .register_blocking import Products
from .window_kernel import window_stage

_PARTS: Final = (
    *("vec.h", "vec_math.h", "gemm_microkernel.h", "gemm_few_rows.h", "group_reduce.h"),
    *("sliding_window.h", "kernel_frame.h", "weight_grad_gemm.h", "job_runner.h"),
)
_AT_HAND: Final = 1 << 17
"""Numbers that may lie between one pass over some rows and the next one, to be found near."""


def tile_vectors(level: Level) -> int:
    """How many vectors of columns a tile of products has (`products.h`)."""
    return 4 if level == "avx512" else 2


def prelude(level: Level, *, double: bool) -> str:
    """The part of every file that no model changes."""
    real, integer = ("double", "int64_t") if double else ("float", "int32_t")
    head = (
        f"#define REAL {real}\n#define INTEGER {integer}\n#define IS_DOUBLE {int(double)}\n"
        f"#define VECTOR_BYTES {VECTOR_BYTES[level]}\n"
    )
    folder = Path(__file__).parent.parent / "csrc"
    return head + "\n".join((folder / part).read_text(encoding="utf-8") for part in _PARTS)


@dataclass(frozen=True)
class Emitter:
    """Writes the C functions of a model; `name` keeps several models in one file apart."""

    layout: Layout
    vectors: int
    name: str = "m_model"

    def text(self) -> str:
        """All functions of the model."""
        units = (unit for unit in self.layout.units if not unit.outside)
        return "".join("\n".join(self._unit(unit)) + "\n" for unit in units)

    def function(self, unit: Unit) -> str:
        """The name of a unit's function."""
        return f"{self.name}_unit_{unit.number}"

    def products(self, unit: Unit) -> list[Products]:
        """The products of each stage of a unit."""
        return [Products(self.layout, stage, self.vectors) for stage in unit.stages]

    def panel_size(self, unit: Unit) -> int:
        """How many numbers the packed matrices of a unit take."""
        return sum(p.blocks * p.block_size for p in self.products(unit) if p.stage.sums)

    def _unit(self, unit: Unit) -> Iterator[str]:
        offset = 0
        plans = self.products(unit)
        landings = {wide.stage: wide.landings for wide in wide_stages(self.layout, unit)}
        for index, plan in enumerate(plans):
            yield from self._stage(unit, index, plan, offset, landings.get(index, ()))
            if plan.stage.sums:
                offset += plan.blocks * plan.block_size
        yield f"void {self.function(unit)}(const Frame *f, long along) {{"
        yield "    Gate gate = {0, 0};"
        yield "    PARALLEL {"
        yield "    const long thread = THREAD, threads = THREADS;"
        if any(plan.stage.sums for plan in plans):
            yield "    if (f->panels) {"
            offset = 0
            for index, plan in enumerate(plans):
                if plan.stage.sums:
                    if not unit.direction:
                        done = f"f->done && f->first == {index}"
                        yield f"    if (f->first <= {index} && {index} < f->last && !({done}))"
                    yield from self._packing(plan, offset)
                    offset += plan.blocks * plan.block_size
            yield "    BARRIER"
            yield "    }"
        yield from (self._loop(unit, plans) if unit.direction else self._batch(unit, plans))
        yield "    }"
        yield "}"

    def _packing(self, plan: Products, offset: int) -> Iterator[str]:
        lanes = self.layout.lanes
        yield f"    for (long j = thread; j < {plan.blocks}; j += threads) {{"
        yield f"        real *panel = f->panels + {offset} + j * {plan.block_size};"
        for run in plan.runs:
            count = len(run.columns)
            for place, (term, v) in enumerate(run.columns):
                yield (
                    f"        pack(f->at[{term.weight}], {plan.stage.width}, {run.depth}, "
                    f"{int(term.transposed)}, (j * {plan.across} + {v}) * LANES, "
                    f"panel + {place * lanes}, {count * lanes});"
                )
            yield f"        panel += {run.depth * count * lanes};"
        yield "    }"

    def _batch(self, unit: Unit, plans: list[Products]) -> Iterator[str]:
        # As many chunks for each thread, of even size.
        yield f"    const long most = {ROW_CHUNK} * threads;"
        yield "    const long each = (f->total + most - 1) / most;"
        yield "    const long chunks = each * threads;"
        yield "    for (long c = each * thread; c < each * (thread + 1); c++) {"
        yield "        const long i0 = f->total * c / chunks, i1 = f->total * (c + 1) / chunks;"
        wide = {found.stage for found in wide_stages(self.layout, unit)}
        for some in _passes(plans):
            numbers = sum(p.stage.width * len(p.stage.values) for _, p in some)
            few = max(1, _AT_HAND // numbers)
            split = len(some) > 1 and few < ROW_CHUNK
            if split:
                # Few rows through all of these stages: what one leaves is near for the next.
                yield f"        for (long n0 = i0; n0 < i1; n0 += {few}) {{"
                yield f"        const long n1 = n0 + {few} < i1 ? n0 + {few} : i1;"
            rows = "n0, n1" if split else "i0, i1"
            for index, plan in some:
                blocks = str(self._blocks(plan))
                call = self._call(unit, index, rows, "0", blocks)
                if index in wide:
                    # Products that are done are read row by row.
                    yield f"        if (f->done && f->first == {index})"
                    yield "            for (long n = i0; n < i1; n += TILE_ROWS) {"
                    yield "            const long end = n + TILE_ROWS < i1 ? n + TILE_ROWS : i1;"
                    yield f"            {self._call(unit, index, 'n, end', '0', blocks)}"
                    yield "            }"
                here = f"if (f->first <= {index} && {index} < f->last)"
                yield f"        {'else ' if index in wide else ''}{here} {call}"
            if split:
                yield "        }"
        yield "    }"

    def _loop(self, unit: Unit, plans: list[Products]) -> Iterator[str]:
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
            if plan.stage.after:
                yield "        if (along > 1) { BARRIER }"
            if plan.stage.whole:
                rows = "i0 + (i1 - i0) * s.column / along, i0 + (i1 - i0) * (s.column + 1) / along"
                yield f"        {self._call(unit, index, rows, '0', '1')}"
            else:
                blocks = self._blocks(plan)
                first, last = (
                    f"{blocks} * {where} / along" for where in ("s.column", "(s.column + 1)")
                )
                yield f"        {self._call(unit, index, 'i0, i1', first, last)}"
        yield "        if (along > 1) { BARRIER }"
        yield "    }"

    def _call(self, unit: Unit, index: int, rows: str, first: str, last: str) -> str:
        return f"{self.function(unit)}_{index}(f, {rows}, {first}, {last});"

    def _blocks(self, plan: Products) -> int:
        if plan.stage.whole:
            return 1
        if plan.stage.sums:
            return plan.blocks
        return -(-plan.stage.width // (COLUMN_BLOCK * self.layout.lanes))

    def _stage(
        self,
        unit: Unit,
        index: int,
        plan: Products,
        offset: int,
        landings: tuple[Landing, ...],
    ) -> Iterator[str]:
        yield (
            f"static void {self.function(unit)}_{index}"
            "(const Frame *f, long i0, long i1, long j0, long j1) {"
        )
        body = Body(self.layout, plan)
        if self.layout.flow.values[plan.stage.values[0]].operation in WINDOWS:
            yield from window_stage(body)
            yield "}"
            return
        yield from body.pointers()
        if plan.stage.whole:
            yield from body.whole()
        elif plan.stage.sums:
            if landings:
                yield f"    const int done = f->done && f->first == {index};"
            yield from body.with_products(offset, landings, batched=not unit.direction)
        else:
            yield from body.elementwise()
        yield "}"


def _passes(plans: list[Products]) -> list[list[tuple[int, Products]]]:
    """Stages in groups: those with products alone, others with their neighbours."""
    found: list[list[tuple[int, Products]]] = []
    for index, plan in enumerate(plans):
        if not found or plan.stage.sums or found[-1][-1][1].stage.sums:
            found.append([])
        found[-1].append((index, plan))
    return found
