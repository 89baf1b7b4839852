"""Flow -> phases: what is on no cycle runs for all steps at once, the rest one step at a time.

Loop distribution (Allen and Kennedy 1987) on the strongly connected components, in an order in
which operands come first; components on no cycle wait for nothing but their operands, so that few
phases result.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Literal

from rnnc.compiler.ir.dataflow import Flow
from rnnc.compiler.ir.ops import ELEMENTWISE, SOURCES

from .fusion_groups import grouped
from .plan import Kind, Phase


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
    waiting = _Waiting(
        flow,
        [b for b in blocks if flow.values[b[1][0]].adjoint == adjoint],
        _without_gradient(flow) if adjoint else frozenset[int](),
    )
    while waiting.missing:
        left = len(waiting.missing)
        for wanted in ("once", "batched"):
            taken = waiting.take_all(wanted)
            if taken:
                yield wanted, taken
        found = waiting.take_loop()
        if found is not None:
            kind, pulled, numbers = found
            if pulled:
                yield "batched", pulled
            yield kind, numbers
        assert len(waiting.missing) < left, sorted(waiting.missing)


class _Waiting:
    """Blocks that are not computed yet; each is looked at once, when all that it waits for is.

    missing: their values. late: those that wait to be asked for; no block waits for them.
    """

    def __init__(self, flow: Flow, blocks: list[Block], late: frozenset[int]) -> None:
        self.missing = {n for _, numbers in blocks for n in numbers}
        self._flow, self._blocks = flow, blocks
        self._place = {
            number: place
            for place, number in enumerate(n for _, numbers in blocks for n in numbers)
        }
        # A loop that elementwise work has moved into is not late because that work is.
        self._late = [late.issuperset(numbers) for _, numbers in blocks]
        self._waits = [0] * len(blocks)
        self._readers: dict[int, list[int]] = {}
        # By kind the blocks that are ready, the first one on top.
        self._ready: dict[str, list[int]] = {"once": [], "batched": [], "loop": []}
        for index, (_, numbers) in enumerate(blocks):
            own = set(numbers)
            reads = {r.value for number in numbers for r in flow.values[number].operands}
            needs = (reads & self.missing) - own - late
            self._waits[index] = len(needs)
            for number in needs:
                self._readers.setdefault(number, []).append(index)
            if not needs:
                self._offer(index)

    def take_all(self, wanted: Literal["once", "batched"]) -> tuple[int, ...]:
        """All values of a kind that are ready, and what they need, in the order of the blocks."""
        taken: list[int] = []
        passed: list[int] = []
        last = -1
        ready = self._ready[wanted]
        while ready:
            index = heappop(ready)
            numbers = self._blocks[index][1]
            if index < last:
                passed.append(index)
            elif numbers[0] in self.missing:
                last = index
                taken += self._pull(numbers)
                self._finish(numbers)
                taken += numbers
        for index in passed:
            heappush(ready, index)
        return tuple(taken)

    def take_loop(self) -> tuple[Kind, tuple[int, ...], tuple[int, ...]] | None:
        """The first loop or scan that is ready: its kind, what it needs, and its values."""
        ready = self._ready["loop"]
        while ready:
            kind, numbers = self._blocks[heappop(ready)]
            if numbers[0] in self.missing:
                pulled = self._pull(numbers)
                self._finish(numbers)
                return kind, pulled, numbers
        return None

    def _offer(self, index: int) -> None:
        """A block waits for nothing any more: it is ready, unless it waits to be asked for."""
        if not self._late[index]:
            kind = self._blocks[index][0]
            heappush(self._ready[kind if kind in {"once", "batched"} else "loop"], index)

    def _pull(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """What is missing of the operands of some values, operands first; no longer missing."""
        values = self._flow.values
        own, needed = set(numbers), set[int]()
        stack = [read.value for number in numbers for read in values[number].operands]
        while stack:
            number = stack.pop()
            if number in self.missing and number not in own and number not in needed:
                needed.add(number)
                stack += [read.value for read in values[number].operands]
        pulled = tuple(sorted(needed, key=self._place.__getitem__))
        self._finish(pulled)
        return pulled

    def _finish(self, numbers: tuple[int, ...]) -> None:
        """Take values off what is missing; blocks that waited for nothing else are ready."""
        self.missing.difference_update(numbers)
        for number in numbers:
            for index in self._readers.get(number, ()):
                self._waits[index] -= 1
                if not self._waits[index]:
                    self._offer(index)


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
        if v.number not in flow.gradients_of
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
