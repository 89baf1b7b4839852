"""Flow -> phases: what is on no cycle runs for all steps at once, the rest one step at a time.

Loop distribution (Allen and Kennedy 1987) on the strongly connected components, in an order in
which operands come first; components on no cycle wait for nothing but their operands, so that few
phases result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .flow import Flow
from .plan import Group, Kind, Phase
from .vocabulary import ELEMENTWISE, SOURCES, SUMS, WIDE


def schedule(flow: Flow, *, sink: bool) -> tuple[Phase, ...]:
    """The phases of a flow, forward ones first.

    With `sink`, elementwise work outside of a loop that serves this loop alone moves into it.
    """
    blocks = _sunk(flow) if sink else _blocks(flow)
    phases: list[Phase] = []
    for adjoint in (False, True):
        for kind, numbers in _ordered(flow, blocks, adjoint=adjoint):
            direction = _direction(flow, numbers) if kind in {"loop", "scan"} else 0
            groups = grouped(flow, numbers)
            phases.append(Phase(len(phases), kind, direction, adjoint, groups))
    return tuple(phases)


Block = tuple[Kind, tuple[int, ...]]


def _blocks(flow: Flow) -> list[Block]:
    """What cannot be separated: components, each of its kind. Sources are in none."""
    blocks: list[Block] = []
    for component in flow.components:
        first = flow.values[component[0]]
        if first.operation in SOURCES:
            continue
        if component[0] in flow.cyclic:
            linear = [n for n in component if flow.values[n].operation == "linear"]
            plain = all(flow.values[n].operation in {"linear", "state"} for n in component)
            kind: Kind = "scan" if plain and len(linear) == 1 else "loop"
        else:
            kind = "once" if first.rate == "call" and not first.adjoint else "batched"
        blocks.append((kind, component))
    return blocks


def _sunk(flow: Flow) -> list[Block]:
    """The blocks, elementwise values with readers in one loop alone moved into it."""
    blocks = _blocks(flow)
    home = {n: i for i, (_, numbers) in enumerate(blocks) for n in numbers}
    kept = {read.value for read in flow.results}
    kept |= {gradient.value for gradient in flow.gradients}
    moved: dict[int, list[int]] = {}
    for index in range(len(blocks) - 1, -1, -1):
        kind, numbers = blocks[index]
        value = flow.values[numbers[0]]
        if kind != "batched" or value.operation not in ELEMENTWISE or value.rate != "step":
            continue
        homes = {home.get(reader, -1) for reader in flow.readers[value.number]}
        delayed = any(
            read.delay
            for reader in flow.readers[value.number]
            for read in flow.values[reader].operands
            if read.value == value.number
        )
        if len(homes) != 1 or value.number in kept or delayed:
            continue
        target = homes.pop()
        if target >= 0 and blocks[target][0] in {"loop", "scan"}:
            home[value.number] = target
            moved.setdefault(target, []).append(value.number)
    gone = {n for numbers in moved.values() for n in numbers}
    result: list[Block] = []
    for index, (kind, numbers) in enumerate(blocks):
        if numbers[0] not in gone:
            result.append((kind, tuple(sorted((*numbers, *moved.get(index, ()))))))
    return result


def _ordered(
    flow: Flow, blocks: list[Block], *, adjoint: bool
) -> Iterable[tuple[Kind, tuple[int, ...]]]:
    """Blocks of one pass in phases.

    What depends on a gradient that comes in is computed as early as it can be; all else of the
    backward pass (slopes, what is computed again) only when that is about to read it.
    """
    waiting = [b for b in blocks if flow.values[b[1][0]].adjoint == adjoint]
    late = _without_gradient(flow) if adjoint else frozenset[int]()
    missing = {n for _, numbers in waiting for n in numbers}
    while waiting:
        for wanted in ("once", "batched"):
            taken = _taken(flow, waiting, wanted, missing, late)
            waiting = [block for block in waiting if block[1][0] in missing]
            if taken:
                yield wanted, taken
        for kind, numbers in waiting:
            if kind in {"loop", "scan"} and _is_ready(flow, numbers, missing, late):
                pulled = _pulled(flow, waiting, numbers, missing)
                if pulled:
                    yield "batched", pulled
                missing.difference_update(numbers)
                waiting = [block for block in waiting if block[1][0] in missing]
                yield kind, numbers
                break


def _taken(
    flow: Flow, waiting: list[Block], wanted: str, missing: set[int], late: frozenset[int]
) -> tuple[int, ...]:
    """All values of a kind that are ready, and what they need; no longer missing then."""
    taken: list[int] = []
    for kind, numbers in waiting:
        if kind != wanted or numbers[0] not in missing or numbers[0] in late:
            continue
        if _is_ready(flow, numbers, missing, late):
            taken += _pulled(flow, waiting, numbers, missing)
            missing.difference_update(numbers)
            taken += numbers
    return tuple(taken)


def _without_gradient(flow: Flow) -> frozenset[int]:
    """The adjoint values outside of cycles that depend on no gradient that comes in."""
    moved: set[int] = set()
    for component in flow.components:
        operands = {read.value for number in component for read in flow.values[number].operands}
        seeded = any(flow.values[number].operation == "seed" for number in component)
        if seeded or operands & moved:
            moved.update(component)
    return frozenset(
        v.number
        for v in flow.values
        if v.adjoint and v.number not in moved and v.number not in flow.cyclic
        if not any(gradient.value == v.number for gradient in flow.gradients)
    )


def _pulled(
    flow: Flow, waiting: list[Block], numbers: tuple[int, ...], missing: set[int]
) -> tuple[int, ...]:
    """What is missing of the operands of some values, operands first; no longer missing then."""
    needed: set[int] = set()
    stack = [read.value for number in numbers for read in flow.values[number].operands]
    while stack:
        number = stack.pop()
        if number in missing and number not in numbers and number not in needed:
            needed.add(number)
            stack += [read.value for read in flow.values[number].operands]
    missing -= needed
    return tuple(n for _, block in waiting for n in block if n in needed)


def _is_ready(
    flow: Flow, numbers: tuple[int, ...], missing: set[int], late: frozenset[int]
) -> bool:
    """Whether all operands are there, or wait only to be asked for."""
    own = set(numbers)
    return not any(
        read.value in missing and read.value not in own and read.value not in late
        for number in numbers
        for read in flow.values[number].operands
    )


def _direction(flow: Flow, numbers: tuple[int, ...]) -> Literal[-1, 0, 1]:
    inside = set(numbers)
    delays = {
        read.delay
        for number in numbers
        for read in flow.values[number].operands
        if read.value in inside
    }
    return -1 if any(delay < 0 for delay in delays) else 1


def grouped(flow: Flow, numbers: tuple[int, ...]) -> tuple[Group, ...]:
    """Values in groups, each after what it reads of the same step; wide ones begin a group."""
    inside = set(numbers)
    level: dict[int, int] = {}
    for number in _instant_order(flow, numbers):
        wide = _is_wide(flow, number)
        level[number] = 0
        for read in flow.values[number].operands:
            if read.value not in inside or (
                read.delay and _share_a_cycle(flow, number, read.value)
            ):
                continue
            # Whole vectors, and other steps, are there only when a group has ended.
            later = wide or read.delay != 0
            level[number] = max(level[number], level[read.value] + later)
    groups: list[Group] = []
    for at in range(max(level.values()) + 1):
        members = [number for number in level if level[number] == at]
        wide_ones = tuple(n for n in members if _is_wide(flow, n))
        groups.append(Group(wide_ones, tuple(n for n in members if not _is_wide(flow, n))))
    return tuple(group for group in groups if group.values)


def _is_wide(flow: Flow, number: int) -> bool:
    operation = flow.values[number].operation
    return operation in WIDE or operation in SUMS


def _instant_order(flow: Flow, numbers: tuple[int, ...]) -> list[int]:
    """Values of a phase, each after those that it reads of the same step.

    Outside of cycles also after those that it reads at other steps.
    """
    inside, done = set(numbers), set[int]()
    order: list[int] = []
    for root in sorted(numbers):
        stack = [root]
        while stack:
            number = stack[-1]
            needs = [
                read.value
                for read in flow.values[number].operands
                if read.value in inside
                and read.value not in done
                and (not read.delay or not _share_a_cycle(flow, number, read.value))
            ]
            if number not in done and needs:
                stack += reversed(needs)
                continue
            stack.pop()
            if number not in done:
                done.add(number)
                order.append(number)
    return order


def _share_a_cycle(flow: Flow, a: int, b: int) -> bool:
    return flow.component_of[a] == flow.component_of[b]
