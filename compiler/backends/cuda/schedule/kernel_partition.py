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
    decomposition = SliceDecomposition(plan.dataflow, value_ids, keep_blocks=keep_blocks)
    levels = _dependency_levels(plan, decomposition, value_ids)
    memory_slices = _memory_slices(plan, decomposition, value_ids, levels)
    slices_by_stage: dict[tuple[int, int], list[ValueSlice]] = {}
    for value_slice, level in levels.items():
        slices_by_stage.setdefault((level, value_slice.width), []).append(value_slice)
    stores = _plan_stores(plan, decomposition, value_ids, memory_slices)
    stores_by_stage: dict[tuple[int, int], list[SliceStore]] = {}
    for store in stores:
        source = store.source
        level = levels[source] if isinstance(source, ValueSlice) else 0
        stores_by_stage.setdefault((level, store.width), []).append(store)
    stages = tuple(
        KernelStage(*key, tuple(slices_by_stage.get(key, ())), tuple(stores_by_stage.get(key, ())))
        for key in sorted({*slices_by_stage, *stores_by_stage})
    )
    return StagePartition(plan, decomposition, stages)


def _dependency_levels(
    plan: Plan, decomposition: SliceDecomposition, value_ids: Sequence[int]
) -> dict[ValueSlice, int]:
    """Compute the level of each slice, in order; slices of movement ops have none."""
    values = plan.dataflow.values
    levels: dict[ValueSlice, int] = {}
    for value_id in value_ids:
        value = values[value_id]
        if value.operation in MOVEMENT_OPS:
            continue
        for value_slice in decomposition.slices_of(value_id):
            level = 0
            for operand in value.operands:
                if operand.value not in decomposition.local_values or operand.delay:
                    continue
                for source, in_memory in _operand_sources(
                    decomposition, value, value_slice, operand
                ):
                    if isinstance(source, ValueSlice):
                        level = max(level, levels[source] + in_memory)
                    elif value.operation in WHOLE_VECTOR_OPS:
                        level = max(level, 1)
            levels[value_slice] = level
    return levels


def _operand_sources(
    decomposition: SliceDecomposition, value: Value, output: ValueSlice, operand: Operand
) -> Iterable[tuple[SliceSource, bool]]:
    """Yield the slices of an operand that a slice reads, and True for reads from memory."""
    values = decomposition.dataflow.values
    if value.operation in WHOLE_VECTOR_OPS:
        for operand_slice in decomposition.slices_of(operand.value):
            yield decomposition.resolve(operand, operand_slice.start, operand_slice.stop), True
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
    dataflow = plan.dataflow
    result_ids = {operand.value for operand in dataflow.results}
    whole_values = {
        value_id
        for value_id in value_ids
        if value_id in result_ids
        or value_id in dataflow.gradients_by_value
        or dataflow.values[value_id].operation == "state"
        or any(user not in decomposition.local_values for user in dataflow.users[value_id])
    }
    slices: set[ValueSlice] = set()
    for value_id in value_ids:
        value = dataflow.values[value_id]
        for operand in value.operands:
            if operand.value not in decomposition.local_values:
                continue
            if operand.delay or value.operation in WHOLE_VECTOR_OPS:
                whole_values.add(operand.value)
            elif value.operation not in MOVEMENT_OPS:
                for value_slice in decomposition.slices_of(value_id):
                    for source, _ in _operand_sources(decomposition, value, value_slice, operand):
                        is_same_stage = isinstance(source, ValueSlice) and (
                            levels[source] == levels[value_slice]
                            and source.width == value_slice.width
                        )
                        if isinstance(source, ValueSlice) and not is_same_stage:
                            slices.add(source)
    return slices.union(*map(decomposition.slices_of, whole_values))


def _plan_stores(
    plan: Plan,
    decomposition: SliceDecomposition,
    value_ids: Sequence[int],
    memory_slices: set[ValueSlice],
) -> tuple[SliceStore, ...]:
    """Plan one store per memory slice; of values that share memory the later one, a state, wins."""
    stores: dict[tuple[int, int], SliceStore] = {}
    for value_id in value_ids:
        region = plan.regions[value_id]
        assert region is not None, plan.dataflow.values[value_id]
        for value_slice in decomposition.slices_of(value_id):
            if value_slice not in memory_slices:
                continue
            source = decomposition.resolve(Operand(value_id), value_slice.start, value_slice.stop)
            address = (region.buffer, region.offset + value_slice.start)
            if isinstance(source, MemorySlice) and not source.operand.delay:
                source_region = plan.regions[source.operand.value]
                if (
                    source_region is not None
                    and (source_region.buffer, source_region.offset + source.start) == address
                ):
                    continue
            stores.pop(address, None)
            stores[address] = SliceStore(
                source, value_id, address[0], address[1], value_slice.width
            )
    return tuple(stores.values())
