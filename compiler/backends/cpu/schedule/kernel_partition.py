"""A phase of a plan -> stages: what one pass over rows and columns can compute.

Inside of a stage every value is as wide as the stage, and entry j of it needs entries j of the
stage's own values alone; whatever else it reads is finished and in memory. So a stage is one loop
over blocks of columns: products first, the elementwise rest on their registers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Flow, Read, Value
from rnnc.compiler.ir.ops import ELEMENTWISE, GROUPS, SUMS, WINDOWS
from rnnc.compiler.schedule.plan import Phase

WHOLE = frozenset(GROUPS) | frozenset(WINDOWS) | {"concatenate"}
"""What is computed row by row from whole vectors."""


@dataclass(frozen=True, slots=True)
class Term:
    """One product that goes into a sum: `weight` (transposed or not) times `vector`."""

    weight: int
    transposed: bool
    vector: Read


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of some products: a `matmul`, or the products that an `add` alone reads."""

    value: int
    terms: tuple[Term, ...]
    rest: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Values of one width.

    sums: products with their terms.
    values: all values of the stage in the order in which they can be computed.
    whole: whether it computes one value from whole vectors, so that rows, not columns, are shared
        out among threads.
    after: whether all columns of an earlier stage of the same step must be finished.
    """

    width: int
    sums: tuple[Sum, ...]
    values: tuple[int, ...]
    whole: bool
    after: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """What runs at once: stages of generated code, or (`outside`) values left to ATen.

    direction: 0 for all rows in any order, 1 or −1 for one step after the other.
    """

    number: int
    outside: bool
    adjoint: bool
    direction: int
    values: tuple[int, ...]
    stages: tuple[Stage, ...] = ()


def units_of(flow: Flow, phases: Iterable[Phase]) -> tuple[Unit, ...]:
    """The units of a plan, in order."""
    units: list[Unit] = []
    for phase in phases:
        if phase.direction:
            parts = [(False, tuple(sorted(phase.values)))]
        else:
            parts = _parts(flow, sorted(phase.values))
        for outside, values in parts:
            stages = () if outside else _stages(flow, values)
            units.append(Unit(len(units), outside, phase.adjoint, phase.direction, values, stages))
    return tuple(units)


def is_outside(value: Value) -> bool:
    """Whether a value is left to ATen: computed once a call or row, or summed over steps."""
    return value.rate != "step" or value.operation in SUMS


def _parts(flow: Flow, numbers: Sequence[int]) -> list[tuple[bool, tuple[int, ...]]]:
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
        own = is_outside(value)
        level[number] = max(
            (
                level[r.value] + (r.delay != 0 or is_outside(flow.values[r.value]) != own)
                for r in reads
            ),
            default=0,
        )
    parts: dict[tuple[int, bool], list[int]] = {}
    for number in level:
        parts.setdefault((level[number], not is_outside(flow.values[number])), []).append(number)
    return [(not inner, tuple(parts[at, inner])) for at, inner in sorted(parts)]


def _reads_entrywise(reader: Value, read: Read, flow: Flow) -> bool:
    """Whether entry j of a reader needs entry j of what it reads, of the same step, alone."""
    source = flow.values[read.value]
    return (
        read.delay == 0
        and (reader.operation in ELEMENTWISE or reader.operation in {"state", "stopgrad"})
        and source.operation not in WHOLE
        and source.shape == reader.shape
    )


def _is_whole(value: Value) -> bool:
    return value.operation in WHOLE


def _stages(flow: Flow, numbers: Sequence[int]) -> tuple[Stage, ...]:
    inside = set(numbers)
    level: dict[int, int] = {}
    for number in numbers:
        value = flow.values[number]
        level[number] = max(
            (
                level[r.value] + (not _reads_entrywise(value, r, flow))
                for r in value.operands
                if r.value in inside and not r.delay
            ),
            default=0,
        )
    sums = {found.value: found for found in _sums(flow, numbers, level)}
    merged = {number for found in sums.values() for number in _products_in(flow, found)}
    buckets: dict[tuple[int, int, int], list[int]] = {}
    for number in numbers:
        value = flow.values[number]
        own = number if _is_whole(value) else -1
        buckets.setdefault((level[number], value.shape[0], own), []).append(number)
    stages: list[Stage] = []
    done: dict[int, int] = {}
    for at, width, own in sorted(buckets):
        members = buckets[at, width, own]
        taken = tuple(sums[n] for n in sorted(members) if n in sums)
        values = tuple(n for n in members if n in sums or n not in merged)
        after = any(
            r.value in done and not r.delay for n in members for r in flow.values[n].operands
        )
        stages.append(Stage(width, taken, values, own >= 0, after))
        done |= dict.fromkeys(members, at)
    return tuple(stages)


def _products_in(flow: Flow, found: Sum) -> list[int]:
    """The products that a sum has taken in."""
    value = flow.values[found.value]
    if value.operation == "matmul":
        return []
    rest = list(found.rest)
    return [
        r.value
        for r in value.operands
        if r not in rest and flow.values[r.value].operation == "matmul"
    ]


def _sums(flow: Flow, numbers: Sequence[int], level: dict[int, int]) -> list[Sum]:
    """Sums of products; what only an `add` reads moves to the stage of this `add`."""
    inside = set(numbers)
    outer = {r.value for r in (*flow.outputs, *flow.laws)}
    sums: dict[int, Sum] = {}
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
            and r.value not in flow.gradients_of
            and flow.values[r.value].operation == "matmul"
            and flow.values[r.value].shape == value.shape
            and flow.is_read_once(r.value, value)
        ]
        if own:
            terms = tuple(_term(flow.values[r.value]) for r in own)
            rest = tuple(r for r in value.operands if r not in own)
            sums[number] = Sum(number, terms, rest)
            for r in own:
                gone.add(r.value)
                level[r.value] = level[number]
    for number in numbers:
        value = flow.values[number]
        if value.operation == "matmul" and number not in gone:
            sums[number] = Sum(number, (_term(value),), ())
    return [sums[number] for number in sorted(sums)]


def _term(value: Value) -> Term:
    weight, vector = value.operands
    return Term(weight.value, bool(value.attributes[0]), vector)
