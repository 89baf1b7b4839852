"""Flow -> phases: what is on no cycle runs for all steps at once, the rest one step at a time.

Loop distribution (Allen and Kennedy 1987) on the strongly connected components, in an order in
which operands come first; components on no cycle wait for nothing but their operands, so that few
phases result.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Literal

from rnnc.compiler.ir.dataflow import Dataflow
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, SOURCE_OPS

from .fusion_groups import build_fusion_groups
from .plan import Phase, PhaseKind


def distribute_loops(dataflow: Dataflow, *, sink_elementwise: bool) -> tuple[Phase, ...]:
    """The phases of a flow, forward ones first.

    With `sink_elementwise`, elementwise work outside of a loop that serves this loop alone moves into it.
    """
    blocks = _sink_elementwise(dataflow) if sink_elementwise else _find_blocks(dataflow)
    phases: list[Phase] = []
    for adjoint in (False, True):
        for kind, numbers in _order_blocks(dataflow, blocks, adjoint=adjoint):
            direction = _infer_direction(dataflow, numbers) if kind in {"loop", "scan"} else 0
            groups = build_fusion_groups(dataflow, numbers)
            phases.append(Phase(len(phases), kind, direction, adjoint, groups))
    return tuple(phases)


Block = tuple[PhaseKind, tuple[int, ...]]


def _find_blocks(flow: Dataflow) -> list[Block]:
    """What cannot be separated: components, each of its kind. Sources are in none."""
    blocks: list[Block] = []
    for component in flow.components:
        first = flow.values[component[0]]
        if first.operation in SOURCE_OPS:
            continue
        if component[0] in flow.cyclic_values:
            linear = [n for n in component if flow.values[n].operation == "linear"]
            plain = all(flow.values[n].operation in {"linear", "state"} for n in component)
            kind: PhaseKind = "scan" if plain and len(linear) == 1 else "loop"
        else:
            kind = "once" if first.rate == "call" and not first.adjoint else "batched"
        blocks.append((kind, component))
    return blocks


def _sink_elementwise(flow: Dataflow) -> list[Block]:
    """The blocks, elementwise values with readers in one loop alone moved into it."""
    blocks = _find_blocks(flow)
    home = {n: i for i, (_, numbers) in enumerate(blocks) for n in numbers}
    kept = {read.value for read in flow.results}
    kept |= {gradient.value for gradient in flow.gradients}
    moved: dict[int, list[int]] = {}
    for index in range(len(blocks) - 1, -1, -1):
        kind, numbers = blocks[index]
        value = flow.values[numbers[0]]
        if kind != "batched" or value.operation not in ELEMENTWISE_OPS or value.rate != "step":
            continue
        homes = {home.get(reader, -1) for reader in flow.users[value.id]}
        delayed = any(
            read.delay
            for reader in flow.users[value.id]
            for read in flow.values[reader].operands
            if read.value == value.id
        )
        if len(homes) != 1 or value.id in kept or delayed:
            continue
        target = homes.pop()
        if target >= 0 and blocks[target][0] in {"loop", "scan"}:
            home[value.id] = target
            moved.setdefault(target, []).append(value.id)
    gone = {n for numbers in moved.values() for n in numbers}
    result: list[Block] = []
    for index, (kind, numbers) in enumerate(blocks):
        if numbers[0] not in gone:
            result.append((kind, tuple(sorted((*numbers, *moved.get(index, ()))))))
    return result


def _order_blocks(
    flow: Dataflow, blocks: list[Block], *, adjoint: bool
) -> Iterable[tuple[PhaseKind, tuple[int, ...]]]:
    """Blocks of one pass in phases.

    What depends on a gradient that comes in is computed as early as it can be; all else of the
    backward pass (slopes, what is computed again) only when that is about to read it.
    """
    waiting = _Worklist(
        flow,
        [b for b in blocks if flow.values[b[1][0]].adjoint == adjoint],
        _cotangent_free_values(flow) if adjoint else frozenset[int](),
    )
    while waiting.pending:
        left = len(waiting.pending)
        for wanted in ("once", "batched"):
            taken = waiting.take_ready(wanted)
            if taken:
                yield wanted, taken
        found = waiting.take_ready_loop()
        if found is not None:
            kind, pulled, numbers = found
            if pulled:
                yield "batched", pulled
            yield kind, numbers
        assert len(waiting.pending) < left, sorted(waiting.pending)


class _Worklist:
    """Blocks that are not computed yet; each is looked at once, when all that it waits for is.

    pending: their values. late: those that wait to be asked for; no block waits for them.
    """

    def __init__(self, flow: Dataflow, blocks: list[Block], late: frozenset[int]) -> None:
        self.pending = {n for _, numbers in blocks for n in numbers}
        self._dataflow, self._blocks = flow, blocks
        self._positions = {
            number: place
            for place, number in enumerate(n for _, numbers in blocks for n in numbers)
        }
        # A loop that elementwise work has moved into is not late because that work is.
        self._is_deferred = [late.issuperset(numbers) for _, numbers in blocks]
        self._unmet = [0] * len(blocks)
        self._dependents: dict[int, list[int]] = {}
        # By kind the blocks that are ready, the first one on top.
        self._ready: dict[str, list[int]] = {"once": [], "batched": [], "loop": []}
        for index, (_, numbers) in enumerate(blocks):
            own = set(numbers)
            reads = {r.value for number in numbers for r in flow.values[number].operands}
            needs = (reads & self.pending) - own - late
            self._unmet[index] = len(needs)
            for number in needs:
                self._dependents.setdefault(number, []).append(index)
            if not needs:
                self._mark_ready(index)

    def take_ready(self, kind: Literal["once", "batched"]) -> tuple[int, ...]:
        """All values of a kind that are ready, and what they need, in the order of the blocks."""
        taken: list[int] = []
        passed: list[int] = []
        last = -1
        ready = self._ready[kind]
        while ready:
            index = heappop(ready)
            numbers = self._blocks[index][1]
            if index < last:
                passed.append(index)
            elif numbers[0] in self.pending:
                last = index
                taken += self._take_missing_operands(numbers)
                self._complete(numbers)
                taken += numbers
        for index in passed:
            heappush(ready, index)
        return tuple(taken)

    def take_ready_loop(self) -> tuple[PhaseKind, tuple[int, ...], tuple[int, ...]] | None:
        """The first loop or scan that is ready: its kind, what it needs, and its values."""
        ready = self._ready["loop"]
        while ready:
            kind, numbers = self._blocks[heappop(ready)]
            if numbers[0] in self.pending:
                pulled = self._take_missing_operands(numbers)
                self._complete(numbers)
                return kind, pulled, numbers
        return None

    def _mark_ready(self, index: int) -> None:
        """A block waits for nothing any more: it is ready, unless it waits to be asked for."""
        if not self._is_deferred[index]:
            kind = self._blocks[index][0]
            heappush(self._ready[kind if kind in {"once", "batched"} else "loop"], index)

    def _take_missing_operands(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """What is missing of the operands of some values, operands first; no longer missing."""
        values = self._dataflow.values
        own, needed = set(numbers), set[int]()
        stack = [read.value for number in numbers for read in values[number].operands]
        while stack:
            number = stack.pop()
            if number in self.pending and number not in own and number not in needed:
                needed.add(number)
                stack += [read.value for read in values[number].operands]
        pulled = tuple(sorted(needed, key=self._positions.__getitem__))
        self._complete(pulled)
        return pulled

    def _complete(self, numbers: tuple[int, ...]) -> None:
        """Take values off what is missing; blocks that waited for nothing else are ready."""
        self.pending.difference_update(numbers)
        for number in numbers:
            for index in self._dependents.get(number, ()):
                self._unmet[index] -= 1
                if not self._unmet[index]:
                    self._mark_ready(index)


def _cotangent_free_values(flow: Dataflow) -> frozenset[int]:
    """The adjoint values outside of cycles that depend on no gradient that comes in."""
    moved: set[int] = set()
    for component in flow.components:
        operands = {read.value for number in component for read in flow.values[number].operands}
        seeded = any(flow.values[number].operation == "seed" for number in component)
        if seeded or operands & moved:
            moved.update(component)
    return frozenset(
        v.id
        for v in flow.values
        if v.adjoint and v.id not in moved and v.id not in flow.cyclic_values
        if v.id not in flow.gradients_by_value
    )


def _infer_direction(flow: Dataflow, numbers: tuple[int, ...]) -> Literal[-1, 0, 1]:
    inside = set(numbers)
    delays = {
        read.delay
        for number in numbers
        for read in flow.values[number].operands
        if read.value in inside
    }
    return -1 if any(delay < 0 for delay in delays) else 1
