"""Kernel partition: phases of a plan -> groups of kernels, one pass over rows and columns each.

All values of a kernel have its width, and entry j of one needs entry j of the others alone; all
other operands are in memory before it starts. So a kernel is one loop over blocks of columns: first
matmul sums, accumulated in registers, then the elementwise epilogue on these registers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, GROUP_OPS, REDUCTION_OPS, WINDOW_OPS
from rnnc.compiler.schedule.plan import Phase

ROWWISE_OPS = frozenset(GROUP_OPS) | frozenset(WINDOW_OPS) | {"concatenate"}
"""Operations that need whole vectors of a row."""


@dataclass(frozen=True, slots=True)
class MatmulTerm:
    """One matmul of a sum: the matrix `weight`, transposed or not, times `vector`."""

    weight: int
    transposed: bool
    vector: Operand


@dataclass(frozen=True, slots=True)
class MatmulSum:
    """A `matmul`, or an `add` with the matmuls that it alone reads.

    epilogue_inputs: the other operands of the `add`.
    """

    value: int
    terms: tuple[MatmulTerm, ...]
    epilogue_inputs: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class CpuKernel:
    """Values of one width that one pass computes.

    values: ids in the order of computation, those of matmul sums among them.
    rowwise: true if it computes one value from whole vectors: threads then split rows only.
    needs_barrier: true if it reads columns of an earlier kernel of the same step.
    """

    width: int
    matmul_sums: tuple[MatmulSum, ...]
    values: tuple[int, ...]
    rowwise: bool
    needs_barrier: bool


@dataclass(frozen=True, slots=True)
class CpuKernelGroup:
    """Kernels in one parallel region, or (`runs_in_aten`) values without generated code.

    direction: 0 for all rows in any order, 1 or −1 for one step after the other.
    """

    index: int
    runs_in_aten: bool
    adjoint: bool
    direction: int
    values: tuple[int, ...]
    kernels: tuple[CpuKernel, ...] = ()


def partition_kernels(flow: Dataflow, phases: Iterable[Phase]) -> tuple[CpuKernelGroup, ...]:
    """Partition the phases of a plan into kernel groups, in order."""
    groups: list[CpuKernelGroup] = []
    for phase in phases:
        value_ids = sorted(phase.values)
        if phase.direction:
            parts = [(False, tuple(value_ids))]
        else:
            parts = _split_batched_phase(flow, value_ids)
        for in_aten, members in parts:
            kernels = () if in_aten else _partition_group(flow, members)
            groups.append(
                CpuKernelGroup(
                    len(groups), in_aten, phase.adjoint, phase.direction, members, kernels
                )
            )
    return tuple(groups)


def runs_in_aten(value: Value) -> bool:
    """Return true for values of a call or a row and for sums over steps, which ATen computes."""
    return value.rate != "step" or value.operation in REDUCTION_OPS


def _split_batched_phase(
    flow: Dataflow, value_ids: Sequence[int]
) -> list[tuple[bool, tuple[int, ...]]]:
    """Split a batched phase where rows need other rows' results, and between ATen and C."""
    members = set(value_ids)
    level: dict[int, int] = {}
    pending = deque(value_ids)
    while pending:
        value_id = pending.popleft()
        value = flow.values[value_id]
        operands = [operand for operand in value.operands if operand.value in members]
        if any(operand.value not in level for operand in operands):
            pending.append(value_id)
            continue
        in_aten = runs_in_aten(value)
        level[value_id] = max(
            (
                level[o.value] + (o.delay != 0 or runs_in_aten(flow.values[o.value]) != in_aten)
                for o in operands
            ),
            default=0,
        )
    parts: dict[tuple[int, bool], list[int]] = {}
    for value_id in level:
        generated = not runs_in_aten(flow.values[value_id])
        parts.setdefault((level[value_id], generated), []).append(value_id)
    return [(not key[1], tuple(parts[key])) for key in sorted(parts)]


def _reads_elementwise(user: Value, operand: Operand, flow: Dataflow) -> bool:
    """Return true if entry j of the user needs only entry j of the operand at the same step."""
    source = flow.values[operand.value]
    return (
        operand.delay == 0
        and (user.operation in ELEMENTWISE_OPS or user.operation in {"state", "stopgrad"})
        and source.operation not in ROWWISE_OPS
        and source.shape == user.shape
    )


def _partition_group(flow: Dataflow, value_ids: Sequence[int]) -> tuple[CpuKernel, ...]:
    """Partition values into kernels by level and width; a rowwise value has its own kernel."""
    members = set(value_ids)
    level: dict[int, int] = {}
    for value_id in value_ids:
        value = flow.values[value_id]
        level[value_id] = max(
            (
                level[operand.value] + (not _reads_elementwise(value, operand, flow))
                for operand in value.operands
                if operand.value in members and not operand.delay
            ),
            default=0,
        )
    sums = {matmuls.value: matmuls for matmuls in _fuse_matmul_sums(flow, value_ids, level)}
    fused = {value_id for matmuls in sums.values() for value_id in _fused_matmuls(flow, matmuls)}
    buckets: dict[tuple[int, int, int], list[int]] = {}
    for value_id in value_ids:
        value = flow.values[value_id]
        rowwise_id = value_id if value.operation in ROWWISE_OPS else -1
        buckets.setdefault((level[value_id], value.shape[0], rowwise_id), []).append(value_id)
    kernels: list[CpuKernel] = []
    finished: set[int] = set()
    for key in sorted(buckets):
        _, width, rowwise_id = key
        bucket = buckets[key]
        needs_barrier = any(
            operand.value in finished and not operand.delay
            for value_id in bucket
            for operand in flow.values[value_id].operands
        )
        kernels.append(
            CpuKernel(
                width,
                tuple(sums[value_id] for value_id in sorted(bucket) if value_id in sums),
                tuple(n for n in bucket if n in sums or n not in fused),
                rowwise_id >= 0,
                needs_barrier,
            )
        )
        finished.update(bucket)
    return tuple(kernels)


def _fused_matmuls(flow: Dataflow, matmuls: MatmulSum) -> list[int]:
    """Return the ids of the matmuls that a sum has taken over."""
    value = flow.values[matmuls.value]
    if value.operation == "matmul":
        return []
    return [
        operand.value
        for operand in value.operands
        if operand not in matmuls.epilogue_inputs
        and flow.values[operand.value].operation == "matmul"
    ]


def _fuse_matmul_sums(
    flow: Dataflow, value_ids: Sequence[int], level: dict[int, int]
) -> list[MatmulSum]:
    """Fuse matmuls into the only `add` that reads them, and move them to its level."""
    members = set(value_ids)
    results = {operand.value for operand in (*flow.outputs, *flow.laws)}
    sums: dict[int, MatmulSum] = {}
    fused: set[int] = set()
    for value_id in value_ids:
        value = flow.values[value_id]
        if value.operation != "add":
            continue
        matmuls = [
            operand
            for operand in value.operands
            if operand.value in members
            and not operand.delay
            and operand.value not in results
            and operand.value not in flow.gradients_by_value
            and flow.values[operand.value].operation == "matmul"
            and flow.values[operand.value].shape == value.shape
            and flow.has_one_use(operand.value, value)
        ]
        if matmuls:
            terms = tuple(_matmul_term(flow.values[operand.value]) for operand in matmuls)
            others = tuple(operand for operand in value.operands if operand not in matmuls)
            sums[value_id] = MatmulSum(value_id, terms, others)
            for operand in matmuls:
                fused.add(operand.value)
                level[operand.value] = level[value_id]
    for value_id in value_ids:
        value = flow.values[value_id]
        if value.operation == "matmul" and value_id not in fused:
            sums[value_id] = MatmulSum(value_id, (_matmul_term(value),), ())
    return [sums[value_id] for value_id in sorted(sums)]


def _matmul_term(value: Value) -> MatmulTerm:
    weight, vector = value.operands
    return MatmulTerm(weight.value, bool(value.attributes[0]), vector)
