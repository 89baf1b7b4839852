"""Where generated code finds each value: slots of pointers, strides, and tables of earlier rows.

Rows of all steps lie one after the other, step by step, only those that still live (`rows.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Dataflow, Operand, Value
from rnnc.compiler.ir.ops import MATMUL_OPS, REDUCTION_OPS, WINDOW_OPS

from .kernel_partition import CpuKernel, CpuKernelGroup, MatmulSum
from .window_access import WindowKey, non_window_operands, window_key

RowIndexKey = tuple[int, str, bool]
"""A delay, what lies outside of a segment (`bounded`, an initial value or nothing; `drawn`, a new
initial value for each segment; or `zero`), and whether a history is before the first step."""


@dataclass(frozen=True)
class FrameLayout:
    """All that code and caller must agree on.

    lanes: how many numbers a vector has.
    """

    flow: Dataflow
    kernel_groups: tuple[CpuKernelGroup, ...]
    lanes: int

    @cached_property
    def row_indices(self) -> tuple[RowIndexKey, ...]:
        """The tables of rows, in the order of their slots."""
        found = {
            self.row_index_key(read): None
            for unit in self.kernel_groups
            for number in unit.values
            for read in non_window_operands(self.flow.values[number])
            if read.delay
        }
        found |= {self.row_index_key(read): None for read in self.flow.results if read.delay}
        return tuple(found)

    @cached_property
    def lookup_tables(self) -> tuple[tuple[int, bool], ...]:
        """What symbols look up: (matrix, transposed); their slots follow those of the values.

        One-hot vectors of size n look up in the identity, here called (−n − 1, True).
        """
        found: dict[tuple[int, bool], None] = {}
        for unit in self.kernel_groups:
            for number in unit.values if not unit.runs_in_aten else ():
                key = self.lookup_table_key(self.flow.values[number])
                if key is not None:
                    found[key] = None
        return tuple(found)

    def lookup_table_key(self, value: Value) -> tuple[int, bool] | None:
        """The table that a value looks up in."""
        if value.operation == "lookup":
            return value.operands[0].value, bool(value.attributes[0])
        if value.operation == "onehot":
            return -value.shape[0] - 1, True
        return None

    def lookup_table_slot(self, value: Value) -> int:
        """The slot of this table."""
        key = self.lookup_table_key(value)
        assert key is not None
        return len(self.flow.values) + self.lookup_tables.index(key)

    @cached_property
    def sum_slots(self) -> dict[int, int]:
        """The slots of the results of sums over all rows, behind those of tables."""
        first = len(self.flow.values) + len(self.lookup_tables)
        numbers = [v.id for v in self.flow.values if v.operation in REDUCTION_OPS]
        return {number: first + index for index, number in enumerate(numbers)}

    @cached_property
    def window_slots(self) -> dict[WindowKey, int]:
        """The slots of tables that windows find their rows by, behind those of sums."""
        first = len(self.flow.values) + len(self.lookup_tables) + len(self.sum_slots)
        keys = [window_key(value) for value in self.flow.values]
        found = dict.fromkeys(key for key in keys if key is not None)
        return {key: first + index for index, key in enumerate(found)}

    @cached_property
    def cotangent_stride_slots(self) -> dict[int, int]:
        """Gradients that may not come in, as that of a final state: the slots of their strides.

        One that does not come is a single row of zeros, and its stride 0. They lie behind windows.
        """
        first = (
            len(self.flow.values)
            + len(self.lookup_tables)
            + len(self.sum_slots)
            + len(self.window_slots)
        )
        readers = self.flow.users
        elsewhere = REDUCTION_OPS | WINDOW_OPS
        found = [
            value.id
            for value in self.flow.values
            if value.operation == "seed" and value.id not in self.delayed_values
            if not any(self.flow.values[n].operation in elsewhere for n in readers[value.id])
        ]
        return {number: first + index for index, number in enumerate(found)}

    @cached_property
    def slot_count(self) -> int:
        """How many pointers a call has."""
        tables = len(self.lookup_tables) + len(self.sum_slots) + len(self.window_slots)
        return len(self.flow.values) + tables + len(self.cotangent_stride_slots)

    def needs_copy(self, number: int) -> bool:
        """Whether a value that comes with the call, or from ATen, is copied for generated code.

        Matrices and tensors of the right stride are read where they lie.
        """
        value = self.flow.values[number]
        if value.shape == ():
            return False
        if value.rate == "step":
            return number in self.delayed_values or self.row_stride(number) != value.shape[0]
        return value.rate == "row" or len(value.shape) == 1

    def row_index_key(self, read: Operand) -> RowIndexKey:
        """The table of rows that a read needs."""
        value = self.flow.values[read.value]
        if value.operation not in BOUNDARY_VALUE_OPS:
            return read.delay, "zero", False
        states = {s.name: s for s in self.flow.graph.states}
        state = states.get(str(value.attributes[0])) if value.operation == "state" else None
        drawn = state is not None and state.initial_value.kind == "uniform"
        past = read.value not in self.flow.states_without_carry
        return read.delay, "drawn" if drawn else "bounded", past

    def padded_width(self, width: int) -> int:
        """A width in whole vectors."""
        return -(-width // self.lanes) * self.lanes

    def row_stride(self, number: int) -> int:
        """The distance of two rows of a value: whole vectors where vectors are read."""
        return self._row_strides[number]

    @cached_property
    def _row_strides(self) -> tuple[int, ...]:
        return tuple(
            1
            if value.shape == ()
            else value.shape[0]
            if value.id in self.unpadded_inputs
            else self.padded_width(value.shape[0])
            for value in self.flow.values
        )

    @cached_property
    def unpadded_inputs(self) -> frozenset[int]:
        """Inputs that only products read: their rows need no room behind them."""
        wide = {
            read.value
            for unit in self.kernel_groups
            for number in unit.values
            for read in self.flow.values[number].operands
            if self.flow.values[number].operation not in MATMUL_OPS | REDUCTION_OPS
        }
        return frozenset(
            v.id for v in self.flow.values if v.operation == "input" and v.id not in wide
        )

    @cached_property
    def delayed_values(self) -> frozenset[int]:
        """Values that are read at other steps."""
        reads = [r for v in self.flow.values for r in v.operands]
        reads += self.flow.results
        return frozenset(read.value for read in reads if read.delay)

    @cached_property
    def result_values(self) -> frozenset[int]:
        """Values that are read when all is computed."""
        found = {read.value for read in self.flow.results}
        return frozenset(found | {g.value for g in self.flow.gradients})

    @cached_property
    def direct_results(self) -> frozenset[int]:
        """Values that are results as they stand, whole rows of which nothing else is kept."""
        outputs = zip(self.flow.graph.outputs, self.flow.outputs, strict=True)
        found = {read.value for output, read in outputs if not output.at_end and not read.delay}
        found |= {g.value for g in self.flow.gradients if g.kind == "input"}
        return frozenset(
            n
            for n in found - self.delayed_values
            if self.flow.values[n].shape != ()
            and self.row_stride(n) == self.flow.values[n].shape[0]
        )

    @cached_property
    def stored_values(self) -> frozenset[int]:
        """Values of generated code that must be in memory."""
        kept = set(self.result_values)
        for unit in self.kernel_groups:
            if unit.runs_in_aten:
                kept |= {r.value for n in unit.values for r in self.flow.values[n].operands}
                continue
            for stage in unit.kernels:
                kept |= _memory_operands(self.flow, stage)
        kept |= {v.id for v in self.flow.values if v.operation == "state"}
        return frozenset(kept)


def _memory_operands(flow: Dataflow, stage: CpuKernel) -> set[int]:
    found: set[int] = set(stage.values) if stage.rowwise else set()
    for number in stage.values:
        for read in kernel_operands(flow, stage, number):
            if not is_in_register(flow, stage, number, read):
                found.add(read.value)
    return found


def matmul_sum_of(stage: CpuKernel, number: int) -> MatmulSum | None:
    """The sum of products that a value of a stage begins with."""
    return next((found for found in stage.matmul_sums if found.value == number), None)


def kernel_operands(flow: Dataflow, stage: CpuKernel, number: int) -> tuple[Operand, ...]:
    """What a value reads, the products that it has taken in counted by their vectors."""
    found = matmul_sum_of(stage, number)
    if found is None:
        return flow.values[number].operands
    return (*(term.vector for term in found.terms), *found.epilogue_inputs)


def is_in_register(flow: Dataflow, stage: CpuKernel, number: int, read: Operand) -> bool:
    """Whether a value of a stage reads another one of it, in a register."""
    if stage.rowwise or read.delay or read.value not in stage.values:
        return False
    value = flow.values[number]
    found = matmul_sum_of(stage, number)
    if found is not None and read not in found.epilogue_inputs:
        return False
    return value.operation not in {"slice", "pad", "matmul", "lookup", "onehot"}
