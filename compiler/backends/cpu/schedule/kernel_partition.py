"""A phase of a plan -> stages: what one pass over rows and columns can compute.

Inside of a stage every value is as wide as the stage, and entry j of it needs entries j of the
stage's own values alone; whatever else it reads is finished and in memory. So a stage is one loop
over blocks of columns: products first, the elementwise rest on their registers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, GROUP_OPS, REDUCTION_OPS, WINDOW_OPS
from rnnc.compiler.schedule.plan import Phase

ROWWISE_OPS = frozenset(GROUP_OPS) | frozenset(WINDOW_OPS) | {"concatenate"}
"""What is computed row by row from whole vectors."""


@dataclass(frozen=True, slots=True)
class MatmulTerm:
    """One product that goes into a sum: `weight` (transposed or not) times `vector`."""

    weight: int
    transposed: bool
    vector: Operand


@dataclass(frozen=True, slots=True)
class MatmulSum:
    """The sum of some products: a `matmul`, or the products that an `add` alone reads."""

    value: int
    terms: tuple[MatmulTerm, ...]
    epilogue_inputs: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class CpuKernel:
    """Values of one width.

    matmul_sums: products with their terms.
    values: all values of the stage in the order in which they can be computed.
    rowwise: whether it computes one value from whole vectors, so that rows, not columns, are shared
        out among threads.
    needs_barrier: whether all columns of an earlier stage of the same step must be finished.
    """

    width: int
    matmul_sums: tuple[MatmulSum, ...]
    values: tuple[int, ...]
    rowwise: bool
    needs_barrier: bool


@dataclass(frozen=True, slots=True)
class CpuKernelGroup:
    """What runs at once: stages of generated code, or (`runs_in_aten`) values left to ATen.

    direction: 0 for all rows in any order, 1 or −1 for one step after the other.
    """

    index: int
    runs_in_aten: bool
    adjoint: bool
    direction: int
    values: tuple[int, ...]
    kernels: tuple[CpuKernel, ...] = ()


def partition_kernels(flow: Dataflow, phases: Iterable[Phase]) -> tuple[CpuKernelGroup, ...]:
    """The units of a plan, in order."""
    units: list[CpuKernelGroup] = []
    for phase in phases:
        if phase.direction:
            parts = [(False, tuple(sorted(phase.values)))]
        else:
            parts = _split_batched_phase(flow, sorted(phase.values))
        for outside, values in parts:
            stages = () if outside else _partition_group(flow, values)
            units.append(
                CpuKernelGroup(len(units), outside, phase.adjoint, phase.direction, values, stages)
            )
    return tuple(units)


def runs_in_aten(value: Value) -> bool:
    """Whether a value is left to ATen: computed once a call or row, or summed over steps."""
    return value.rate != "step" or value.operation in REDUCTION_OPS


def _split_batched_phase(
    flow: Dataflow, numbers: Sequence[int]
) -> list[tuple[bool, tuple[int, ...]]]:
    """A batched phase in parts whose rows do not need each other's results."""
    level: dict[int, int] = {}
    inside = set(numbers)
    waiting = deque(numbers)
    while waiting:
        number = waiting.popleft()
        value = flow.values[number]
        reads = [r for r in value.operands if r.value in inside]
        if any(r.value not in level for r in reads):
            waiting.append(number)
            continue
        own = runs_in_aten(value)
        level[number] = max(
            (
                level[r.value] + (r.delay != 0 or runs_in_aten(flow.values[r.value]) != own)
                for r in reads
            ),
            default=0,
        )
    parts: dict[tuple[int, bool], list[int]] = {}
    for number in level:
        parts.setdefault((level[number], not runs_in_aten(flow.values[number])), []).append(number)
    return [(not inner, tuple(parts[at, inner])) for at, inner in sorted(parts)]


def _reads_elementwise(reader: Value, read: Operand, flow: Dataflow) -> bool:
    """Whether entry j of a reader needs entry j of what it reads, of the same step, alone."""
    source = flow.values[read.value]
    return (
        read.delay == 0
        and (reader.operation in ELEMENTWISE_OPS or reader.operation in {"state", "stopgrad"})
        and source.operation not in ROWWISE_OPS
        and source.shape == reader.shape
    )


def _is_rowwise(value: Value) -> bool:
    return value.operation in ROWWISE_OPS


def _partition_group(flow: Dataflow, numbers: Sequence[int]) -> tuple[CpuKernel, ...]:
    inside = set(numbers)
    level: dict[int, int] = {}
    for number in numbers:
        value = flow.values[number]
        level[number] = max(
            (
                level[r.value] + (not _reads_elementwise(value, r, flow))
                for r in value.operands
                if r.value in inside and not r.delay
            ),
            default=0,
        )
    sums = {found.value: found for found in _fuse_matmul_sums(flow, numbers, level)}
    merged = {number for found in sums.values() for number in _fused_matmuls(flow, found)}
    buckets: dict[tuple[int, int, int], list[int]] = {}
    for number in numbers:
        value = flow.values[number]
        own = number if _is_rowwise(value) else -1
        buckets.setdefault((level[number], value.shape[0], own), []).append(number)
    stages: list[CpuKernel] = []
    done: dict[int, int] = {}
    for at, width, own in sorted(buckets):
        members = buckets[at, width, own]
        taken = tuple(sums[n] for n in sorted(members) if n in sums)
        values = tuple(n for n in members if n in sums or n not in merged)
        after = any(
            r.value in done and not r.delay for n in members for r in flow.values[n].operands
        )
        stages.append(CpuKernel(width, taken, values, own >= 0, after))
        done |= dict.fromkeys(members, at)
    return tuple(stages)


def _fused_matmuls(flow: Dataflow, found: MatmulSum) -> list[int]:
    """The products that a sum has taken in."""
    value = flow.values[found.value]
    if value.operation == "matmul":
        return []
    rest = list(found.epilogue_inputs)
    return [
        r.value
        for r in value.operands
        if r not in rest and flow.values[r.value].operation == "matmul"
    ]


def _fuse_matmul_sums(
    flow: Dataflow, numbers: Sequence[int], level: dict[int, int]
) -> list[MatmulSum]:
    """Sums of products; what only an `add` reads moves to the stage of this `add`."""
    inside = set(numbers)
    outer = {r.value for r in (*flow.outputs, *flow.laws)}
    sums: dict[int, MatmulSum] = {}
    gone: set[int] = set()
    for number in numbers:
        value = flow.values[number]
        if value.operation != "add":
            continue
        own = [
            r
            for r in value.operands
            if r.value in inside
            and not r.delay
            and r.value not in outer
            and r.value not in flow.gradients_by_value
            and flow.values[r.value].operation == "matmul"
            and flow.values[r.value].shape == value.shape
            and flow.has_one_use(r.value, value)
        ]
        if own:
            terms = tuple(_matmul_term(flow.values[r.value]) for r in own)
            rest = tuple(r for r in value.operands if r not in own)
            sums[number] = MatmulSum(number, terms, rest)
            for r in own:
                gone.add(r.value)
                level[r.value] = level[number]
    for number in numbers:
        value = flow.values[number]
        if value.operation == "matmul" and number not in gone:
            sums[number] = MatmulSum(number, (_matmul_term(value),), ())
    return [sums[number] for number in sorted(sums)]


def _matmul_term(value: Value) -> MatmulTerm:
    weight, vector = value.operands
    return MatmulTerm(weight.value, bool(value.attributes[0]), vector)
