"""Partition the values of a phase into stages, each one kernel or the work between barriers.

All slices of a stage have one width, and entry j of each depends on entries j of the same stage
alone; all other operands are in memory before the stage begins. Levels are as in ASAP scheduling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import WHOLE_VECTOR_OPS
from rnnc.compiler.schedule.plan import Plan

from .slice_decomposition import (
    MOVEMENT_OPS,
    MemorySlice,
    SliceDecomposition,
    SliceSource,
    ValueSlice,
)


@dataclass(frozen=True, slots=True)
class SliceStore:
    """Entries of `value` to be written to a buffer, from entry `offset` of its rows on."""

    source: SliceSource
    value: int
    buffer: int
    offset: int
    width: int


@dataclass(frozen=True, slots=True)
class KernelStage:
    """Slices in topological order, and the stores of their results.

    level: the longest chain of stages before it; stages of one level are independent.
    """

    level: int
    width: int
    slices: tuple[ValueSlice, ...]
    stores: tuple[SliceStore, ...]


@dataclass(frozen=True)
class StagePartition:
    """The stages of values of a plan, and the slices that they consist of."""

    plan: Plan
    decomposition: SliceDecomposition
    stages: tuple[KernelStage, ...]

    def resolve_operand(self, output: ValueSlice, operand: Operand) -> SliceSource:
        """Return the source of an operand's entries for one slice of an elementwise value."""
        if self.plan.dataflow.values[operand.value].shape == (1,):
            return self.decomposition.resolve(operand, 0, 1)
        return self.decomposition.resolve(operand, output.start, output.stop)


def partition_stages(
    plan: Plan, value_ids: Sequence[int], *, keep_blocks: bool = False
) -> StagePartition:
    """Partition values of one phase, given in topological order, into stages.

    keep_blocks: as in `SliceDecomposition`.
    """
    pieces = SliceDecomposition(plan.dataflow, value_ids, whole=keep_blocks)
    levels = _dependency_levels(plan, pieces, value_ids)
    stored = _memory_slices(plan, pieces, value_ids, levels)
    buckets: dict[tuple[int, int], list[ValueSlice]] = {}
    for piece, level in levels.items():
        buckets.setdefault((level, piece.width), []).append(piece)
    stores = _plan_stores(plan, pieces, value_ids, stored)
    placed: dict[tuple[int, int], list[SliceStore]] = {}
    for store in stores:
        source = store.source
        level = levels[source] if isinstance(source, ValueSlice) else 0
        placed.setdefault((level, store.width), []).append(store)
    found = tuple(
        KernelStage(*key, tuple(buckets.get(key, ())), tuple(placed.get(key, ())))
        for key in sorted({*buckets, *placed})
    )
    return StagePartition(plan, pieces, found)


def _dependency_levels(
    plan: Plan, decomposition: SliceDecomposition, value_ids: Sequence[int]
) -> dict[ValueSlice, int]:
    """Compute the level of each slice, in order; slices of movement ops have none."""
    values = plan.dataflow.values
    levels: dict[ValueSlice, int] = {}
    for number in value_ids:
        value = values[number]
        if value.operation in MOVEMENT_OPS:
            continue
        for piece in decomposition.slices_of(number):
            level = 0
            for read in value.operands:
                if read.value not in decomposition.local_values or read.delay:
                    continue
                for source, apart in _operand_sources(decomposition, value, piece, read):
                    if isinstance(source, ValueSlice):
                        level = max(level, levels[source] + apart)
                    elif value.operation in WHOLE_VECTOR_OPS:
                        level = max(level, 1)
            levels[piece] = level
    return levels


def _operand_sources(
    decomposition: SliceDecomposition, value: Value, output: ValueSlice, operand: Operand
) -> Iterable[tuple[SliceSource, bool]]:
    """Yield the slices of an operand that a slice reads, and whether from memory."""
    values = decomposition.flow.values
    if value.operation in WHOLE_VECTOR_OPS:
        for part in decomposition.slices_of(operand.value):
            yield decomposition.resolve(operand, part.start, part.stop), True
    elif values[operand.value].shape == (1,):
        yield decomposition.resolve(operand, 0, 1), output.width != 1
    else:
        yield decomposition.resolve(operand, output.start, output.stop), False


def _memory_slices(
    plan: Plan,
    decomposition: SliceDecomposition,
    value_ids: Sequence[int],
    levels: dict[ValueSlice, int],
) -> set[ValueSlice]:
    """Return the slices, those of movement ops included, that have a reader in memory."""
    flow = plan.dataflow
    kept = {read.value for read in flow.results}
    whole = {
        number
        for number in value_ids
        if number in kept
        or number in flow.gradients_by_value
        or flow.values[number].operation == "state"
        or any(reader not in decomposition.local_values for reader in flow.users[number])
    }
    found: set[ValueSlice] = set()
    for number in value_ids:
        value = flow.values[number]
        for read in value.operands:
            if read.value not in decomposition.local_values:
                continue
            if read.delay or value.operation in WHOLE_VECTOR_OPS:
                whole.add(read.value)
            elif value.operation not in MOVEMENT_OPS:
                for piece in decomposition.slices_of(number):
                    for source, _ in _operand_sources(decomposition, value, piece, read):
                        same = isinstance(source, ValueSlice) and (
                            levels[source] == levels[piece] and source.width == piece.width
                        )
                        if isinstance(source, ValueSlice) and not same:
                            found.add(source)
    return found | {piece for number in whole for piece in decomposition.slices_of(number)}


def _plan_stores(
    plan: Plan,
    decomposition: SliceDecomposition,
    value_ids: Sequence[int],
    memory_slices: set[ValueSlice],
) -> tuple[SliceStore, ...]:
    """Plan one store per memory slice; of values that share memory the later one, a state, wins."""
    found: dict[tuple[int, int], SliceStore] = {}
    for number in value_ids:
        place = plan.regions[number]
        assert place is not None, plan.dataflow.values[number]
        for piece in decomposition.slices_of(number):
            if piece not in memory_slices:
                continue
            source = decomposition.resolve(Operand(number), piece.start, piece.stop)
            at = (place.buffer, place.offset + piece.start)
            if isinstance(source, MemorySlice) and not source.operand.delay:
                there = plan.regions[source.operand.value]
                if there is not None and (there.buffer, there.offset + source.start) == at:
                    continue
            found.pop(at, None)
            found[at] = SliceStore(source, number, at[0], at[1], piece.width)
    return tuple(found.values())
