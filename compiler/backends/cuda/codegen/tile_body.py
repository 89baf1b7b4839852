"""Emit the Triton source of a stage: loads, matmuls, elementwise epilogue, stores.

The code around it defines, for the rows of a tile: `row`, the index among all T·B rows; `b`, the
index in the batch; `row_mask`, the bounds check; and `B`. The emitted code defines the column
indices `u`, their bounds check `column_mask`, and the mask of the tile `tile_mask`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rnnc.compiler.backends.cuda.schedule.kernel_partition import (
    KernelStage,
    SliceStore,
)
from rnnc.compiler.backends.cuda.schedule.matmul_operands import MatmulSlice, stage_matmuls
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import (
    MemorySlice,
    SliceSource,
    ValueSlice,
    ZeroPadding,
)
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, GROUP_OPS

from .expressions import format_expression
from .kernel_arguments import KernelArgument, KernelVariant
from .tile_loads import TileLoads, delay_suffix, offset_suffix, shifted_row


@dataclass
class TileEmitter(TileLoads):
    """Emitter of the stages of one phase.

    freeze_ended_rows: whether states keep their value after the end of a row, as loops require.
    extent: the number of columns of a tile, as Triton source.
    """

    freeze_ended_rows: bool = field(kw_only=True)
    extent: str = "BN"
    _loaded_names: dict[str, str] = field(default_factory=dict)
    _pending_loads: list[str] = field(default_factory=list)

    def emit_columns(self, width: int, first: str) -> Iterator[str]:
        """Emit `u`, `column_mask` and `tile_mask` of a tile whose first column is `first`."""
        if width == 1:
            yield "tile_mask = row_mask[:, None]"
            return
        yield f"u = {first} + tl.arange(0, {self.extent})"
        yield f"column_mask = u < {width}"
        yield "tile_mask = row_mask[:, None] & column_mask[None, :]"

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
                    self.operand_expression(output, operand, local_slices)
                    for operand in value.operands
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
        is_whole_value = output.width == self.plan.dataflow.values[output.value].shape[0]
        return f"v{output.value}" if is_whole_value else f"v{output.value}_{output.start}"

    def operand_expression(
        self, output: ValueSlice, operand: Operand, local_slices: frozenset[ValueSlice]
    ) -> str:
        """Return the entries of an operand: a variable, or a load expression."""
        source = self.partition.resolve_operand(output, operand)
        return self._source_expression(source, local_slices)

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
            name += "" if masked else "_unmasked"
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
            yield f"    depth_mask = k < {depth}"
            yield f"    x = {self.vector_expression(vector, first, depth)}"
            for matmul in matmuls:
                name = self.local_name(matmul.output)
                yield f"    w = {self.weight_expression(matmul, stage.width)}"
                yield f"    {name} = matmul(x, w, {name}, PRECISION)"
            if stage.width == 1:
                for matmul in matmuls:
                    name = self.local_name(matmul.output)
                    yield f"{name} = tl.sum({name}, 1)[:, None]"

    def vector_expression(
        self, operand: Operand, first: int, depth: int, columns: str = "k"
    ) -> str:
        """Return the load of the entries `k` of a matmul's vector, masked by `depth_mask`."""
        mask = "row_mask[:, None] & depth_mask[None, :]"
        return self.load_expression(operand, first, first + depth, columns=columns, mask=mask)

    def weight_expression(self, matmul: MatmulSlice, width: int) -> str:
        """Return the load of a weight tile: rows `k`, columns `u`."""
        base = self.arguments.add(KernelArgument(f"w{matmul.matrix}", "whole", matmul.matrix))
        first = f"tl.arange(0, {self.extent})"
        column, column_mask = ("u", "column_mask") if width > 1 else (first, f"({first} < 1)")
        address = matmul.weight_address(base, column)
        return f"tl.load({address}, mask=depth_mask[:, None] & {column_mask}[None, :], other=0.0)"

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
                first = output.start // k
                entry = self.load_expression(operand, first, first + 1)
            else:
                columns = f"({u} // {k})"
                entry = self.load_expression(operand, 0, width, columns=columns, mask="tile_mask")
            yield f"{name} = {entry}"
            return
        is_maximum = value.operation == "group_max"
        start = 'float("-inf")' if is_maximum else "0.0"
        extent = "1" if output.width == 1 else self.extent
        yield f"{name} = tl.full((BM, {extent}), {start}, REAL)"
        yield f"for j in range(0, {k}):"
        if output.width == 1:
            entry = self.load_expression(operand, 0, 1, scalar=f"({u} * {k} + j)")
        else:
            columns = f"({u} * {k} + j)"
            entry = self.load_expression(operand, 0, 0, columns=columns, mask="tile_mask")
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

    def emit_store(self, store: SliceStore, local_slices: frozenset[ValueSlice]) -> Iterator[str]:
        """Emit one store."""
        buffer = self.plan.buffers[store.buffer]
        base = self.buffer_argument(buffer)
        row = "b" if buffer.extent == "step" else shifted_row(buffer.steps_before)
        address = f"{base} + ({row} * {buffer.width}{offset_suffix(store.offset)})[:, None]"
        if store.width != 1:
            address += " + u[None, :]"
        entries = self._source_expression(store.source, local_slices)
        yield from self.emit_after_loads(f"tl.store({address}, {entries}, mask=tile_mask)")


def file_header(variant: KernelVariant) -> Sequence[str]:
    """Return the first lines of a kernel file: imports and constants."""
    return (
        "import triton",
        "import triton.language as tl",
        "",
        f"REAL = tl.constexpr(tl.{variant.compute_dtype})",
        f"TINY = tl.constexpr({variant.tiny!r})",
    )
