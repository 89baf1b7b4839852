"""Where generated code finds each value: slots of pointers, strides, and tables of earlier rows.

Rows of all steps lie one after the other, step by step, only those that still live (`rows.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rnnc.compiler.ir.dataflow import BOUNDED, Flow, Read, Value
from rnnc.compiler.ir.ops import PRODUCTS, SUMS, WINDOWS

from .kernel_partition import Stage, Sum, Unit
from .window_access import WindowKey, plain_reads, window_key

IndexKey = tuple[int, str, bool]
"""A delay, what lies outside of a segment (`bounded`, an initial value or nothing; `drawn`, a new
initial value for each segment; or `zero`), and whether a history is before the first step."""


@dataclass(frozen=True)
class Layout:
    """All that code and caller must agree on.

    lanes: how many numbers a vector has.
    """

    flow: Flow
    units: tuple[Unit, ...]
    lanes: int

    @cached_property
    def indices(self) -> tuple[IndexKey, ...]:
        """The tables of rows, in the order of their slots."""
        found = {
            self.index_key(read): None
            for unit in self.units
            for number in unit.values
            for read in plain_reads(self.flow.values[number])
            if read.delay
        }
        found |= {self.index_key(read): None for read in self.flow.results if read.delay}
        return tuple(found)

    @cached_property
    def tables(self) -> tuple[tuple[int, bool], ...]:
        """What symbols look up: (matrix, transposed); their slots follow those of the values.

        One-hot vectors of size n look up in the identity, here called (−n − 1, True).
        """
        found: dict[tuple[int, bool], None] = {}
        for unit in self.units:
            for number in unit.values if not unit.outside else ():
                key = self.table_key(self.flow.values[number])
                if key is not None:
                    found[key] = None
        return tuple(found)

    def table_key(self, value: Value) -> tuple[int, bool] | None:
        """The table that a value looks up in."""
        if value.operation == "lookup":
            return value.operands[0].value, bool(value.attributes[0])
        if value.operation == "onehot":
            return -value.shape[0] - 1, True
        return None

    def table_slot(self, value: Value) -> int:
        """The slot of this table."""
        key = self.table_key(value)
        assert key is not None
        return len(self.flow.values) + self.tables.index(key)

    @cached_property
    def sums(self) -> dict[int, int]:
        """The slots of the results of sums over all rows, behind those of tables."""
        first = len(self.flow.values) + len(self.tables)
        numbers = [v.number for v in self.flow.values if v.operation in SUMS]
        return {number: first + index for index, number in enumerate(numbers)}

    @cached_property
    def windows(self) -> dict[WindowKey, int]:
        """The slots of tables that windows find their rows by, behind those of sums."""
        first = len(self.flow.values) + len(self.tables) + len(self.sums)
        keys = [window_key(value) for value in self.flow.values]
        found = dict.fromkeys(key for key in keys if key is not None)
        return {key: first + index for index, key in enumerate(found)}

    @cached_property
    def steps(self) -> dict[int, int]:
        """Gradients that may not come in, as that of a final state: the slots of their strides.

        One that does not come is a single row of zeros, and its stride 0. They lie behind windows.
        """
        first = len(self.flow.values) + len(self.tables) + len(self.sums) + len(self.windows)
        readers = self.flow.readers
        elsewhere = SUMS | WINDOWS
        found = [
            value.number
            for value in self.flow.values
            if value.operation == "seed" and value.number not in self.delayed
            if not any(self.flow.values[n].operation in elsewhere for n in readers[value.number])
        ]
        return {number: first + index for index, number in enumerate(found)}

    @cached_property
    def slots(self) -> int:
        """How many pointers a call has."""
        tables = len(self.tables) + len(self.sums) + len(self.windows)
        return len(self.flow.values) + tables + len(self.steps)

    def is_copied(self, number: int) -> bool:
        """Whether a value that comes with the call, or from ATen, is copied for generated code.

        Matrices and tensors of the right stride are read where they lie.
        """
        value = self.flow.values[number]
        if value.shape == ():
            return False
        if value.rate == "step":
            return number in self.delayed or self.stride(number) != value.shape[0]
        return value.rate == "row" or len(value.shape) == 1

    def index_key(self, read: Read) -> IndexKey:
        """The table of rows that a read needs."""
        value = self.flow.values[read.value]
        if value.operation not in BOUNDED:
            return read.delay, "zero", False
        states = {s.name: s for s in self.flow.graph.states}
        state = states.get(str(value.attributes[0])) if value.operation == "state" else None
        drawn = state is not None and state.initial.kind == "uniform"
        past = read.value not in self.flow.pastless
        return read.delay, "drawn" if drawn else "bounded", past

    def padded(self, width: int) -> int:
        """A width in whole vectors."""
        return -(-width // self.lanes) * self.lanes

    def stride(self, number: int) -> int:
        """The distance of two rows of a value: whole vectors where vectors are read."""
        return self._strides[number]

    @cached_property
    def _strides(self) -> tuple[int, ...]:
        return tuple(
            1
            if value.shape == ()
            else value.shape[0]
            if value.number in self.unpadded
            else self.padded(value.shape[0])
            for value in self.flow.values
        )

    @cached_property
    def unpadded(self) -> frozenset[int]:
        """Inputs that only products read: their rows need no room behind them."""
        wide = {
            read.value
            for unit in self.units
            for number in unit.values
            for read in self.flow.values[number].operands
            if self.flow.values[number].operation not in PRODUCTS | SUMS
        }
        return frozenset(
            v.number for v in self.flow.values if v.operation == "input" and v.number not in wide
        )

    @cached_property
    def delayed(self) -> frozenset[int]:
        """Values that are read at other steps."""
        reads = [r for v in self.flow.values for r in v.operands]
        reads += self.flow.results
        return frozenset(read.value for read in reads if read.delay)

    @cached_property
    def results(self) -> frozenset[int]:
        """Values that are read when all is computed."""
        found = {read.value for read in self.flow.results}
        return frozenset(found | {g.value for g in self.flow.gradients})

    @cached_property
    def handed(self) -> frozenset[int]:
        """Values that are results as they stand, whole rows of which nothing else is kept."""
        outputs = zip(self.flow.graph.outputs, self.flow.outputs, strict=True)
        found = {read.value for output, read in outputs if not output.at_end and not read.delay}
        found |= {g.value for g in self.flow.gradients if g.kind == "input"}
        return frozenset(
            n
            for n in found - self.delayed
            if self.flow.values[n].shape != () and self.stride(n) == self.flow.values[n].shape[0]
        )

    @cached_property
    def stored(self) -> frozenset[int]:
        """Values of generated code that must be in memory."""
        kept = set(self.results)
        for unit in self.units:
            if unit.outside:
                kept |= {r.value for n in unit.values for r in self.flow.values[n].operands}
                continue
            for stage in unit.stages:
                kept |= _read_from_memory(self.flow, stage)
        kept |= {v.number for v in self.flow.values if v.operation == "state"}
        return frozenset(kept)


def _read_from_memory(flow: Flow, stage: Stage) -> set[int]:
    found: set[int] = set(stage.values) if stage.whole else set()
    for number in stage.values:
        for read in reads_of(flow, stage, number):
            if not is_here(flow, stage, number, read):
                found.add(read.value)
    return found


def sum_of(stage: Stage, number: int) -> Sum | None:
    """The sum of products that a value of a stage begins with."""
    return next((found for found in stage.sums if found.value == number), None)


def reads_of(flow: Flow, stage: Stage, number: int) -> tuple[Read, ...]:
    """What a value reads, the products that it has taken in counted by their vectors."""
    found = sum_of(stage, number)
    if found is None:
        return flow.values[number].operands
    return (*(term.vector for term in found.terms), *found.rest)


def is_here(flow: Flow, stage: Stage, number: int, read: Read) -> bool:
    """Whether a value of a stage reads another one of it, in a register."""
    if stage.whole or read.delay or read.value not in stage.values:
        return False
    value = flow.values[number]
    found = sum_of(stage, number)
    if found is not None and read not in found.rest:
        return False
    return value.operation not in {"slice", "pad", "matmul", "lookup", "onehot"}
