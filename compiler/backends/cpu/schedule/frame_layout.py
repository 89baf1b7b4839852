"""Frame layout: the contract between generated code and its caller.

It numbers the pointer slots (values, then lookup tables, sums, window indices and cotangent
strides), gives the distance of two rows of a value, and names the row indices that delayed operands
are found by. Rows are packed (`specialize/packed_sequence.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Dataflow, Operand, Value
from rnnc.compiler.ir.ops import MATMUL_OPS, REDUCTION_OPS, WINDOW_OPS

from .kernel_partition import CpuKernel, CpuKernelGroup, MatmulSum
from .window_access import WindowKey, non_window_operands, window_key

RowIndexKey = tuple[int, str, bool]
"""A delay, the kind of boundary, and true if a carry lies before the first step.

Outside of a segment a `bounded` operand is an initial value or nothing, a `drawn` one an initial
value that each segment draws anew, and any other is `zero`.
"""


@dataclass(frozen=True)
class FrameLayout:
    """Slots, strides and row indices of a program.

    lanes: numbers of a vector register.
    """

    flow: Dataflow
    kernel_groups: tuple[CpuKernelGroup, ...]
    lanes: int

    @cached_property
    def row_indices(self) -> tuple[RowIndexKey, ...]:
        """The row indices in the order of their slots, which are numbered apart from pointers."""
        keys = {
            self.row_index_key(operand): None
            for group in self.kernel_groups
            for value_id in group.values
            for operand in non_window_operands(self.flow.values[value_id])
            if operand.delay
        }
        keys |= {self.row_index_key(result): None for result in self.flow.results if result.delay}
        return tuple(keys)

    def row_index_key(self, operand: Operand) -> RowIndexKey:
        """Return the row index that a delayed operand is found by."""
        value = self.flow.values[operand.value]
        if value.operation not in BOUNDARY_VALUE_OPS:
            return operand.delay, "zero", False
        states = {s.name: s for s in self.flow.graph.states}
        state = states.get(str(value.attributes[0])) if value.operation == "state" else None
        is_drawn = state is not None and state.initial_value.kind == "uniform"
        has_carry = operand.value not in self.flow.states_without_carry
        return operand.delay, "drawn" if is_drawn else "bounded", has_carry

    def row_index_slot(self, operand: Operand) -> int:
        """Return the slot of an operand's row index; −1 without a delay."""
        return self.row_indices.index(self.row_index_key(operand)) if operand.delay else -1

    @cached_property
    def lookup_tables(self) -> tuple[tuple[int, bool], ...]:
        """The matrices that symbols look up in, (id, transposed), in the order of their slots.

        One-hot vectors of size n look up in the identity, here called (−n − 1, True).
        """
        keys = [
            self.lookup_table_key(self.flow.values[value_id])
            for group in self.kernel_groups
            for value_id in (() if group.runs_in_aten else group.values)
        ]
        return tuple(dict.fromkeys(key for key in keys if key is not None))

    def lookup_table_key(self, value: Value) -> tuple[int, bool] | None:
        """Return the table that a value looks up in; None for other operations."""
        if value.operation == "lookup":
            return value.operands[0].value, bool(value.attributes[0])
        if value.operation == "onehot":
            return -value.shape[0] - 1, True
        return None

    def lookup_table_slot(self, value: Value) -> int:
        """Return the slot of the table that a value looks up in."""
        key = self.lookup_table_key(value)
        assert key is not None
        return len(self.flow.values) + self.lookup_tables.index(key)

    @cached_property
    def sum_slots(self) -> dict[int, int]:
        """The slots of sums over all rows, behind those of lookup tables."""
        first = len(self.flow.values) + len(self.lookup_tables)
        sums = [value.id for value in self.flow.values if value.operation in REDUCTION_OPS]
        return {value_id: first + index for index, value_id in enumerate(sums)}

    @cached_property
    def window_slots(self) -> dict[WindowKey, int]:
        """The slots of window indices, behind those of sums."""
        first = len(self.flow.values) + len(self.lookup_tables) + len(self.sum_slots)
        keys = [window_key(value) for value in self.flow.values]
        unique_keys = dict.fromkeys(key for key in keys if key is not None)
        return {key: first + index for index, key in enumerate(unique_keys)}

    @cached_property
    def cotangent_stride_slots(self) -> dict[int, int]:
        """The slots of strides of cotangents that may be absent, behind those of windows.

        An absent cotangent, as often that of a final state, is one row of zeros with a stride of 0.
        Reductions and windows take fixed strides, so that what they read gets a full buffer.
        """
        first = self.slot_count_without_strides
        fixed_stride_ops = REDUCTION_OPS | WINDOW_OPS
        cotangents = [
            value.id
            for value in self.flow.values
            if value.operation == "seed"
            and value.id not in self.delayed_values
            and not any(
                self.flow.values[user].operation in fixed_stride_ops
                for user in self.flow.users[value.id]
            )
        ]
        return {value_id: first + index for index, value_id in enumerate(cotangents)}

    @property
    def slot_count_without_strides(self) -> int:
        """Number of slots in front of those of cotangent strides."""
        tables = len(self.lookup_tables) + len(self.sum_slots) + len(self.window_slots)
        return len(self.flow.values) + tables

    @cached_property
    def slot_count(self) -> int:
        """Number of pointer slots of a call."""
        return self.slot_count_without_strides + len(self.cotangent_stride_slots)

    def needs_copy(self, value_id: int) -> bool:
        """Return true if a source must be copied for generated code.

        Matrices, and tensors whose rows have the right stride, are read in place.
        """
        value = self.flow.values[value_id]
        if value.shape == ():
            return False
        if value.rate == "step":
            return value_id in self.delayed_values or self.row_stride(value_id) != value.shape[0]
        return value.rate == "row" or len(value.shape) == 1

    def padded_width(self, width: int) -> int:
        """Round a width up to whole vectors."""
        return -(-width // self.lanes) * self.lanes

    def row_stride(self, value_id: int) -> int:
        """Return the distance of two rows of a value: whole vectors where kernels load vectors."""
        return self._row_strides[value_id]

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
        """Inputs that only matmuls and sums read: these load no vectors behind a row's end."""
        loaded_as_vectors = {
            operand.value
            for group in self.kernel_groups
            for value_id in group.values
            for operand in self.flow.values[value_id].operands
            if self.flow.values[value_id].operation not in MATMUL_OPS | REDUCTION_OPS
        }
        return frozenset(
            value.id
            for value in self.flow.values
            if value.operation == "input" and value.id not in loaded_as_vectors
        )

    @cached_property
    def delayed_values(self) -> frozenset[int]:
        """Values that are read at other steps."""
        operands = [operand for value in self.flow.values for operand in value.operands]
        return frozenset(o.value for o in (*operands, *self.flow.results) if o.delay)

    @cached_property
    def result_values(self) -> frozenset[int]:
        """Values that the caller reads after the last launch."""
        results = {operand.value for operand in self.flow.results}
        return frozenset(results | {gradient.value for gradient in self.flow.gradients})

    @cached_property
    def direct_results(self) -> frozenset[int]:
        """Values that kernels can store into the caller's tensor: whole rows, unpadded."""
        outputs = zip(self.flow.graph.outputs, self.flow.outputs, strict=True)
        results = {
            operand.value for out, operand in outputs if not out.at_end and not operand.delay
        }
        results |= {g.value for g in self.flow.gradients if g.kind == "input"}
        values = (self.flow.values[value_id] for value_id in results - self.delayed_values)
        return frozenset(
            value.id
            for value in values
            if value.shape != () and self.row_stride(value.id) == value.shape[0]
        )

    @cached_property
    def stored_values(self) -> frozenset[int]:
        """Values of generated code that must be in memory, not in registers alone."""
        stored = set(self.result_values)
        for group in self.kernel_groups:
            if group.runs_in_aten:
                values = (self.flow.values[value_id] for value_id in group.values)
                stored |= {operand.value for value in values for operand in value.operands}
            for kernel in group.kernels:
                stored |= _memory_operands(self.flow, kernel)
        stored |= {value.id for value in self.flow.values if value.operation == "state"}
        return frozenset(stored)


def _memory_operands(flow: Dataflow, kernel: CpuKernel) -> set[int]:
    """Return what a kernel reads from memory, and what a rowwise one writes."""
    values = set(kernel.values) if kernel.rowwise else set()
    for value_id in kernel.values:
        for operand in kernel_operands(flow, kernel, value_id):
            if not is_in_register(flow, kernel, value_id, operand):
                values.add(operand.value)
    return values


def matmul_sum_of(kernel: CpuKernel, value_id: int) -> MatmulSum | None:
    """Return the matmul sum that computes a value, if one does."""
    return next((sum_ for sum_ in kernel.matmul_sums if sum_.value == value_id), None)


def kernel_operands(flow: Dataflow, kernel: CpuKernel, value_id: int) -> tuple[Operand, ...]:
    """Return the operands of a value in its kernel; fused matmuls count by their vectors."""
    matmuls = matmul_sum_of(kernel, value_id)
    if matmuls is None:
        return flow.values[value_id].operands
    return (*(term.vector for term in matmuls.terms), *matmuls.epilogue_inputs)


def is_in_register(flow: Dataflow, kernel: CpuKernel, value_id: int, operand: Operand) -> bool:
    """Return true if a value of a kernel finds an operand in a register of the same kernel."""
    if kernel.rowwise or operand.delay or operand.value not in kernel.values:
        return False
    matmuls = matmul_sum_of(kernel, value_id)
    if matmuls is not None and operand not in matmuls.epilogue_inputs:
        return False
    reads_shifted = {"slice", "pad", "matmul", "lookup", "onehot"}
    return flow.values[value_id].operation not in reads_shifted
