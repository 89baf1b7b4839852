"""Emit the Triton source of a stage: loads, matmuls, elementwise epilogue, stores.

The code around it defines, for the rows of a tile: `row`, the index among all T·B rows; `b`, the
index in the batch; `rows`, the bounds check; and `B`. The emitted code defines the column indices
`u`, their bounds check `inside`, and the mask of the tile `at`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rnnc.compiler.backends.cuda.schedule.kernel_partition import (
    KernelStage,
    SliceStore,
    StagePartition,
)
from rnnc.compiler.backends.cuda.schedule.matmul_operands import MatmulSlice, stage_matmuls
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import (
    MemorySlice,
    SliceSource,
    ValueSlice,
    ZeroPadding,
)
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, GROUP_OPS
from rnnc.compiler.schedule.plan import Buffer, Plan

from .expressions import format_expression
from .kernel_arguments import KernelArgument, KernelArguments, KernelVariant, is_full_precision


@dataclass
class TileEmitter:
    """Emitter of the stages of one phase.

    freeze_ended_rows: whether states keep their value after the end of a row, as loops require.
    extent: the number of columns of a tile, as Triton source.
    shared_buffers: buffers that other programs write during the launch.
    """

    partition: StagePartition
    variant: KernelVariant
    freeze_ended_rows: bool
    extent: str = "BN"
    shared_buffers: frozenset[int] = frozenset()
    arguments: KernelArguments = field(default_factory=KernelArguments)
    _loaded_names: dict[str, str] = field(default_factory=dict)
    _pending_loads: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """Return the plan of the stages."""
        return self.partition.plan

    def emit_columns(self, width: int, first: str) -> Iterator[str]:
        """Emit `u`, `inside` and `at` of a tile whose first column is the expression `first`."""
        if width == 1:
            yield "at = rows[:, None]"
            return
        yield f"u = {first} + tl.arange(0, {self.extent})"
        yield f"inside = u < {width}"
        yield "at = rows[:, None] & inside[None, :]"

    def emit_body(self, stage: KernelStage) -> Iterator[str]:
        """Emit matmuls, elementwise operations and stores of a stage."""
        local_slices = frozenset(stage.slices)
        self.forget_loads()
        yield from self.emit_matmuls(stage)
        yield from self.emit_elementwise(stage.slices, local_slices)
        for store in stage.stores:
            yield from self.emit_store(store, local_slices)

    def forget_loads(self) -> None:
        """Forget the variables of earlier loads, before code that may not reuse them."""
        self._loaded_names.clear()

    def emit_elementwise(
        self, slices: Iterable[ValueSlice], local_slices: frozenset[ValueSlice]
    ) -> Iterator[str]:
        """Emit all slices but matmuls.

        Raises:
            Unsupported: when an operation has no kernel.
        """
        for output in slices:
            value = self.plan.dataflow.values[output.value]
            if value.operation == "matmul":
                continue
            if value.operation in GROUP_OPS:
                yield from self._emit_group(value, output)
            elif value.operation == "state":
                yield from self.emit_after_loads(self._state_update(value, output, local_slices))
            elif value.operation not in ELEMENTWISE_OPS:
                raise Unsupported(f"it has no kernel for `{value.operation}` in a loop")
            else:
                operands = [
                    self.operand_expression(output, read, local_slices) for read in value.operands
                ]
                if value.operation == "select" or all(o[:1] not in "vr" for o in operands):
                    operands = [o if o[:1] in "vr" else f"real({o})" for o in operands]
                line = f"{self.local_name(output)} = {format_expression(value.operation, operands)}"
                yield from self.emit_after_loads(line)

    def emit_after_loads(self, line: str) -> Iterator[str]:
        """Emit the pending loads, then the line that needs them."""
        yield from self._pending_loads
        self._pending_loads.clear()
        yield line

    def local_name(self, output: ValueSlice) -> str:
        """Return the variable name of a slice."""
        is_whole_value = (
            output.stop - output.start == self.plan.dataflow.values[output.value].shape[0]
        )
        return f"v{output.value}" if is_whole_value else f"v{output.value}_{output.start}"

    def operand_expression(
        self, output: ValueSlice, operand: Operand, local_slices: frozenset[ValueSlice]
    ) -> str:
        """Return the entries of an operand: a variable, or a load expression."""
        return self._source_expression(
            self.partition.resolve_operand(output, operand), local_slices
        )

    def _source_expression(self, source: SliceSource, local_slices: frozenset[ValueSlice]) -> str:
        if isinstance(source, ZeroPadding):
            return "0.0"
        if isinstance(source, MemorySlice):
            return self.reuse_load(source.operand, source.start, source.stop)
        if source in local_slices:
            return self.local_name(source)
        return self.reuse_load(Operand(source.value), source.start, source.stop)

    def reuse_load(self, operand: Operand, start: int, stop: int, *, masked: bool = True) -> str:
        """Return the variable of loaded entries; its load is emitted before the next line."""
        text = self.load_expression(operand, start, stop, masked=masked)
        if self.plan.dataflow.values[operand.value].operation == "constant":
            return text
        if text not in self._loaded_names:
            name = f"r{operand.value}" + (f"_{start}" if start else "")
            name += f"_{delay_suffix(operand.delay)}" if operand.delay else ""
            name += "" if masked else "_held"
            self._loaded_names[text] = name
            self._pending_loads.append(f"{name} = {text}")
        return self._loaded_names[text]

    def emit_matmuls(self, stage: KernelStage) -> Iterator[str]:
        """Emit the matmuls of a stage; those of one vector share a loop over its depth."""
        matmuls_by_vector: dict[tuple[Operand, int, int], list[MatmulSlice]] = {}
        for matmul in stage_matmuls(self.plan, stage):
            key = (matmul.vector, matmul.vector_start, matmul.depth)
            matmuls_by_vector.setdefault(key, []).append(matmul)
        for (vector, first, depth), matmuls in matmuls_by_vector.items():
            for matmul in matmuls:
                yield f"{self.local_name(matmul.output)} = tl.zeros((BM, {self.extent}), REAL)"
            yield f"for k0 in range(0, {depth}, BK):"
            yield "    k = k0 + tl.arange(0, BK)"
            yield f"    deep = k < {depth}"
            yield f"    x = {self.vector_expression(vector, first, depth)}"
            for matmul in matmuls:
                name = self.local_name(matmul.output)
                yield f"    w = {self.weight_expression(matmul, stage.width)}"
                yield f"    {name} = product(x, w, {name}, PRECISION)"
            if stage.width == 1:
                for matmul in matmuls:
                    name = self.local_name(matmul.output)
                    yield f"{name} = tl.sum({name}, 1)[:, None]"

    def vector_expression(
        self, operand: Operand, first: int, depth: int, columns: str = "k"
    ) -> str:
        """Return the load of the entries `k` of a matmul's vector, masked by `deep`."""
        mask = "rows[:, None] & deep[None, :]"
        return self.load_expression(operand, first, first + depth, columns=columns, mask=mask)

    def weight_expression(self, matmul: MatmulSlice, width: int) -> str:
        """Return the load of a weight tile: rows `k`, columns `u`."""
        base = self.arguments.add(KernelArgument(f"w{matmul.matrix}", "whole", matmul.matrix))
        first = f"tl.arange(0, {self.extent})"
        column, inside = ("u", "inside") if width > 1 else (first, f"({first} < 1)")
        address = matmul.weight_address(base, column)
        return f"tl.load({address}, mask=deep[:, None] & {inside}[None, :], other=0.0)"

    def _emit_group(self, value: Value, output: ValueSlice) -> Iterator[str]:
        """Emit a sum or maximum over groups of neighboring entries, or its broadcast `spread`."""
        operand, k = value.operands[0], int(value.attributes[0])
        name = self.local_name(output)
        u = "0" if output.width == 1 and output.start == 0 else f"(u + {output.start})"
        if output.width == 1:
            u = str(output.start)
        if value.operation == "spread":
            width = self.plan.dataflow.values[operand.value].shape[0]
            if output.width == 1:
                yield f"{name} = {self.load_expression(operand, output.start // k, output.start // k + 1)}"
            else:
                columns = f"({u} // {k})"
                yield f"{name} = {self.load_expression(operand, 0, width, columns=columns, mask='at')}"
            return
        is_maximum = value.operation == "group_max"
        start = 'float("-inf")' if is_maximum else "0.0"
        extent = "1" if output.width == 1 else self.extent
        yield f"{name} = tl.full((BM, {extent}), {start}, REAL)"
        yield f"for j in range(0, {k}):"
        if output.width == 1:
            entry = self.load_expression(operand, 0, 1, scalar=f"({u} * {k} + j)")
        else:
            entry = self.load_expression(operand, 0, 0, columns=f"({u} * {k} + j)", mask="at")
        yield f"    entry = {entry}"
        combined = f"tl.where(entry > {name}, entry, {name})" if is_maximum else f"{name} + entry"
        yield f"    {name} = {combined}"

    def _state_update(
        self, value: Value, output: ValueSlice, local_slices: frozenset[ValueSlice]
    ) -> str:
        """Return the assignment of a state: its new value, or the old one after a row's end."""
        name = self.local_name(output)
        new = self.operand_expression(output, value.operands[0], local_slices)
        if not (self.variant.lengths and self.freeze_ended_rows):
            return f"{name} = {new}"
        frozen = self.initial_expression(value, output.start, output.width, "u")
        if not self.is_backward_state(value):
            frozen = self.reuse_load(Operand(value.id, 1), output.start, output.stop, masked=False)
        return f"{name} = tl.where({self.valid_mask()}, {new}, {frozen})"

    def is_backward_state(self, value: Value) -> bool:
        """Test for a state that runs backward in time, which has no carry."""
        graph = self.plan.dataflow.graph
        name = str(value.attributes[0])
        return any(s.name == name and s.node in graph.backward_nodes for s in graph.states)

    def load_expression(
        self,
        operand: Operand,
        start: int,
        stop: int,
        *,
        columns: str = "u",
        scalar: str = "",
        mask: str = "",
        masked: bool = True,
    ) -> str:
        """Return the load of an operand's entries, replaced outside of the segment.

        columns: the column indices; with the default `u` the entries are `start` to `stop`.
        scalar: the index of a single entry instead.
        mask: the mask of the load; that of the tile by default.
        masked: whether to replace entries from outside of the segment.
        """
        value = self.plan.dataflow.values[operand.value]
        if value.operation == "constant":
            return _literal(float(value.attributes[0]))
        width = 1 if scalar else stop - start if columns == "u" else 0
        if value.rate == "call":
            base = self.arguments.add(KernelArgument(f"c{value.id}", "whole", value.id))
            if width == 1:
                return f"tl.load({base}{_offset_suffix(start)}).to(REAL)"
            address = f"{base}{_offset_suffix(start)} + ({columns})[None, :]"
            return f"tl.load({address}, mask=inside[None, :], other=0.0).to(REAL)"
        base, row, row_size = self._row_location(operand, value)
        if scalar:
            address = f"{base} + ({row} * {row_size} + {scalar})[:, None]"
        elif width == 1:
            address = f"{base} + ({row} * {row_size}{_offset_suffix(start)})[:, None]"
        else:
            address = f"{base} + ({row} * {row_size}{_offset_suffix(start)})[:, None] + {columns}[None, :]"
        load_mask = mask or ("rows[:, None]" if width == 1 else "at")
        load = f"tl.load({address}, mask={load_mask}, other=0.0{self._cache_modifier(operand)}).to(REAL)"
        has_boundary_value = value.operation in BOUNDARY_VALUE_OPS
        has_carry = operand.value not in self.plan.dataflow.states_without_carry
        if not masked or not self.variant.may_cross_segment(
            operand.delay, has_boundary_value=has_boundary_value, has_carry=has_carry
        ):
            return load
        boundary_value = "0.0"
        if value.operation == "state":
            boundary_value = self.initial_expression(
                value, start, 1 if scalar else width, columns, scalar, mask or "at"
            )
        return f"tl.where({self.same_segment_mask(operand.delay, has_carry=has_carry)}, {load}, {boundary_value})"

    def valid_mask(self) -> str:
        """Return the mask (rows, 1) of rows that have not ended at this step."""
        name = self.arguments.add(KernelArgument("alive", "alive"))
        return f"(tl.load({name} + row, mask=rows, other=0) != 0)[:, None]"

    def same_segment_mask(self, delay: int, *, has_carry: bool = True) -> str:
        """Return the mask (rows, 1) of rows whose step `delay` ago is in the same segment."""
        kind: Literal["linked", "within"] = "linked" if has_carry or delay < 0 else "within"
        name = self.arguments.add(KernelArgument(f"{kind}_{delay_suffix(delay)}", kind, delay))
        return f"(tl.load({name} + row, mask=rows, other=0) != 0)[:, None]"

    def initial_expression(
        self,
        value: Value,
        start: int,
        width: int,
        columns: str,
        scalar: str = "",
        mask: str = "at",
    ) -> str:
        """Return the load of a state's initial value, which precedes the segment."""
        name = str(value.attributes[0])
        value_id = value.id
        base = self.arguments.add(KernelArgument(f"initial_{value_id}", "initial", name))
        state = next(s for s in self.plan.dataflow.graph.states if s.name == name)
        is_drawn_per_step = state.initial_value.kind == "uniform" and self.variant.resets
        address = f"{'row' if is_drawn_per_step else 'b'} * {value.shape[0]}"
        if scalar or width == 1:
            address = (
                f"({address} + {scalar})[:, None]"
                if scalar
                else f"({address}{_offset_suffix(start)})[:, None]"
            )
            return f"tl.load({base} + {address}, mask=rows[:, None], other=0.0).to(REAL)"
        address = f"({address}{_offset_suffix(start)})[:, None] + {columns}[None, :]"
        return f"tl.load({base} + {address}, mask={mask}, other=0.0).to(REAL)"

    def _row_location(self, operand: Operand, value: Value) -> tuple[str, str, int]:
        """Return (base pointer, row index, entries per row) of an operand with rows."""
        region = self.plan.regions[operand.value]
        if value.rate == "row":
            base = self.arguments.add(KernelArgument(f"a{value.id}", "whole", value.id))
            return base, "b", value.shape[0]
        if region is not None:
            buffer = self.plan.buffers[region.buffer]
            base = f"b{region.buffer}{_offset_suffix(region.offset)}"
            if buffer.extent == "step":
                self._buffer_argument(buffer)
                return base, "b", buffer.width
            if 0 <= buffer.steps_before - operand.delay <= buffer.steps_before + buffer.steps_after:
                self._buffer_argument(buffer)
                return base, _shifted_row(buffer.steps_before - operand.delay), buffer.width
        suffix = f"_{delay_suffix(operand.delay)}" if operand.delay else ""
        name = self.arguments.add(KernelArgument(f"x{value.id}{suffix}", "series", operand))
        return name, "row", value.shape[0]

    def _cache_modifier(self, operand: Operand) -> str:
        """Return the modifier that bypasses the L1 cache for buffers of other programs.

        The L1 caches of multiprocessors are not coherent; `.cg` reads from L2.
        """
        region = self.plan.regions[operand.value]
        is_shared = region is not None and region.buffer in self.shared_buffers
        return ', cache_modifier=".cg"' if is_shared else ""

    def _buffer_argument(self, buffer: Buffer) -> str:
        buffer_id = buffer.id
        return self.arguments.add(
            KernelArgument(f"b{buffer_id}", "buffer", buffer_id, is_full_precision(buffer))
        )

    def emit_store(self, store: SliceStore, local_slices: frozenset[ValueSlice]) -> Iterator[str]:
        """Emit one store."""
        buffer = self.plan.buffers[store.buffer]
        base = self._buffer_argument(buffer)
        row = "b" if buffer.extent == "step" else _shifted_row(buffer.steps_before)
        address = f"{base} + ({row} * {buffer.width}{_offset_suffix(store.offset)})[:, None]"
        if store.width != 1:
            address += " + u[None, :]"
        yield from self.emit_after_loads(
            f"tl.store({address}, {self._source_expression(store.source, local_slices)}, mask=at)"
        )


def delay_suffix(delay: int) -> str:
    """Return a delay as part of a name."""
    return f"{abs(delay)}_{'ahead' if delay < 0 else 'ago'}"


def file_header(variant: KernelVariant) -> Sequence[str]:
    """Return the first lines of a kernel file: imports and constants."""
    return (
        "import triton",
        "import triton.language as tl",
        "",
        f"REAL = tl.constexpr(tl.{variant.compute_dtype})",
        f"TINY = tl.constexpr({variant.tiny!r})",
    )


def _literal(number: float) -> str:
    if math.isfinite(number):
        return f"({number!r})" if number < 0 else repr(number)
    if number != number:
        return 'float("nan")'
    return f'float("{"inf" if number > 0 else "-inf"}")'


def _offset_suffix(offset: int) -> str:
    return f" + {offset}" if offset else ""


def _shifted_row(steps: int) -> str:
    """Return the row index in a series, some steps further on."""
    if not steps:
        return "row"
    return f"(row + {'' if steps == 1 else f'{steps} * '}B)"
