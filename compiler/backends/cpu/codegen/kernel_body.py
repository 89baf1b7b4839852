"""C bodies of kernels without matmuls: pointers, then rows, then vectors of columns.

In the C, value 7 is `p7` where it is read from memory and `to7` where it is stored; in a row these
are `r7` and `w7`, and in a vector register it is `v7`. Row `n`, column `u`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rnnc.compiler.backends.cpu.schedule.frame_layout import (
    FrameLayout,
    is_in_register,
    matmul_sum_of,
)
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernel
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import GROUP_OPS

from .expressions import expression, literal
from .register_blocking import RegisterBlocking

COLUMN_BLOCK: Final = 4
"""Vectors of columns in a block of a kernel without matmuls: threads split whole blocks."""


@dataclass(frozen=True)
class KernelBody:
    """Writes the C of one kernel's function.

    pair: in front of statements that stand for a pair of rows.
    suffix: behind the names of a row's variables.
    row: the number of the current row.
    """

    layout: FrameLayout
    blocking: RegisterBlocking

    pair: ClassVar[str] = ""
    suffix: ClassVar[str] = ""
    row: ClassVar[str] = "n"

    @property
    def kernel(self) -> CpuKernel:
        """The kernel."""
        return self.blocking.kernel

    def declare_pointers(self) -> Iterator[str]:
        """Declare pointers to everything that the kernel reads from memory or stores."""
        flow = self.layout.flow
        vectors = [call.vector for call in self.blocking.microkernel_calls]
        epilogue = [operand for _, operand in self.memory_operands()]
        yield from self.declare_operands([*vectors, *epilogue])
        for value_id in self.kernel.values:
            if self.layout.lookup_table_key(flow.values[value_id]):
                slot = self.layout.lookup_table_slot(flow.values[value_id])
                yield f"    const real *const table{value_id} = f->slots[{slot}];"
            if value_id in self.layout.stored_values:
                yield f"    real *const to{value_id} = f->slots[{value_id}];"

    def declare_operands(self, operands: Sequence[Operand]) -> Iterator[str]:
        """Declare pointers, strides and row indices of some operands."""
        for value_id in dict.fromkeys(operand.value for operand in operands):
            value = self.layout.flow.values[value_id]
            if value.operation == "constant":
                continue
            kind = "int32_t" if value.shape == () else "real"
            yield f"    const {kind} *const p{value_id} = f->slots[{value_id}];"
            if value_id in self.layout.cotangent_stride_slots:
                slot = self.layout.cotangent_stride_slots[value_id]
                yield f"    const long s{value_id} = (long)f->slots[{slot}];"
        indices = {self.layout.row_index_slot(operand) for operand in operands if operand.delay}
        for slot in sorted(indices):
            yield f"    const int32_t *const x{slot} = f->row_index[{slot}];"

    def memory_operands(self) -> list[tuple[int, Operand]]:
        """Return the operands that are read from memory, each behind the id of its user.

        Vectors of matmuls are not among them.
        """
        flow = self.layout.flow
        pairs: dict[tuple[int, Operand], None] = {}
        for value_id in self.kernel.values:
            matmuls = matmul_sum_of(self.kernel, value_id)
            operands = flow.values[value_id].operands
            if matmuls is not None:
                operands = matmuls.epilogue_inputs
            for operand in operands:
                if not is_in_register(flow, self.kernel, value_id, operand):
                    pairs[value_id, operand] = None
        return list(pairs)

    def row_address(self, operand: Operand, row: str = "n") -> str:
        """Write the address of the row that an operand is for a row of the kernel."""
        value = self.layout.flow.values[operand.value]
        if value.rate == "call":
            return f"p{operand.value}"
        has_stride = operand.value in self.layout.cotangent_stride_slots
        stride = f"s{operand.value}" if has_stride else self.layout.row_stride(operand.value)
        return f"p{operand.value} + (long){self._operand_row(operand, row)} * {stride}"

    def _operand_row(self, operand: Operand, row: str) -> str:
        if self.layout.flow.values[operand.value].rate == "row":
            return f"f->batch_index[{row}]"
        return f"x{self.layout.row_index_slot(operand)}[{row}]" if operand.delay else row

    def declare_rows(self) -> Iterator[str]:
        """Declare pointers to the rows that the current row reads and stores."""
        values = self.layout.flow.values
        declared: set[str] = set()
        for value_id, operand in self.memory_operands():
            source, name = values[operand.value], self._row_name(operand)
            if source.operation == "constant" or source.shape == () or name in declared:
                continue
            if values[value_id].operation == "lookup" and source.rate == "call":
                continue
            declared.add(name)
            yield self._define("const real *", name, self.row_address(operand, self.row))
        for value_id in self.kernel.values:
            value = values[value_id]
            if self.layout.lookup_table_key(value):
                symbol = value.operands[-1]
                stride = self.layout.padded_width(value.shape[0])
                symbol_row = self._operand_row(symbol, self.row)
                text = f"table{value_id} + (long)p{symbol.value}[{symbol_row}] * {stride}"
                yield self._define("const real *", f"row{value_id}", text)
            if value_id in self.layout.stored_values:
                stride = self.layout.row_stride(value_id)
                yield self._define(
                    "real *", f"w{value_id}", f"to{value_id} + {self.row} * {stride}"
                )

    def emit_columns(self) -> Iterator[str]:
        """Compute the values at columns u to u + LANES, and store those that must be in memory."""
        for value_id in self.kernel.values:
            text = self._value_expression(self.layout.flow.values[value_id])
            yield self._define("vec", f"v{value_id}", text)
            if value_id in self.layout.stored_values:
                row, vector = f"w{value_id}{self.suffix}", f"v{value_id}{self.suffix}"
                yield f"{self.pair}STORE({row} + u, {vector});"

    def emit_elementwise(self) -> Iterator[str]:
        """Write a kernel without matmuls: a loop over rows around one over columns."""
        block, width = COLUMN_BLOCK * self.layout.lanes, self.kernel.width
        yield "    for (long n = i0; n < i1; n++) {"
        for line in self.declare_rows():
            yield f"        {line}"
        yield f"        const long end = j1 * {block} < {width} ? j1 * {block} : {width};"
        yield f"        for (long u = j0 * {block}; u < end; u += LANES) {{"
        for line in self.emit_columns():
            yield f"            {line}"
        yield "        }"
        yield "    }"

    def emit_rowwise(self) -> Iterator[str]:
        """Write a kernel that computes one value from whole vectors, row by row."""
        value = self.layout.flow.values[self.kernel.values[0]]
        yield "    for (long n = i0; n < i1; n++) {"
        for line in self.declare_rows():
            yield f"        {line}"
        result = f"w{value.id}"
        if value.operation in GROUP_OPS:
            operand = value.operands[0]
            width = self.layout.flow.values[operand.value].shape[0]
            groups = int(value.attributes[0])
            source = self._row_name(operand)
            yield f"        {value.operation}({result}, {source}, {width}, {groups});"
        else:
            yield from self._emit_concatenate(value, result)
        yield "    }"

    def _emit_concatenate(self, value: Value, result: str) -> Iterator[str]:
        start = 0
        for operand in value.operands:
            part = self.layout.flow.values[operand.value]
            width = part.shape[0]
            if part.operation == "constant":
                yield f"        {result}[{start}] = {literal(float(part.attributes[0]))};"
            else:
                source = self._row_name(operand)
                yield f"        memcpy({result} + {start}, {source}, {width} * sizeof(real));"
            start += width

    def _define(self, kind: str, name: str, text: str) -> str:
        return f"{kind} {name} = {text};"

    def _row_name(self, operand: Operand) -> str:
        slot = self.layout.row_index_slot(operand)
        return f"r{operand.value}" + (f"_{slot}" if operand.delay else "")

    def _value_expression(self, value: Value) -> str:
        if self.layout.lookup_table_key(value):
            return f"LOAD(row{value.id}{self.suffix} + u)"
        if value.operation == "slice":
            start, source = int(value.attributes[0]), self._row_name(value.operands[0])
            return f"LOAD({source}{self.suffix} + {start} + u)"
        if value.operation == "pad":
            operand, start = value.operands[0], int(value.attributes[0])
            width = self.layout.flow.values[operand.value].shape[0]
            return f"load_padded({self._row_name(operand)}{self.suffix}, u - {start}, {width})"
        operands = [self.operand_expression(value.id, operand) for operand in value.operands]
        return expression(value.operation, operands)

    def operand_expression(self, user: int, operand: Operand) -> str:
        """Write an operand of a value at columns u to u + LANES."""
        if is_in_register(self.layout.flow, self.kernel, user, operand):
            return f"v{operand.value}{self.suffix}"
        value = self.layout.flow.values[operand.value]
        if value.operation == "constant":
            return f"splat({literal(float(value.attributes[0]))})"
        row = f"{self._row_name(operand)}{self.suffix}"
        return f"splat({row}[0])" if value.shape == (1,) else f"LOAD({row} + u)"
