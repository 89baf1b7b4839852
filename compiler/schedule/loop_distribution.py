"""Loop distribution: dataflow -> phases; cycles are loops or scans, all else is batched.

After Allen and Kennedy 1987, over the strongly connected components in topological order. Values on
no cycle wait for their operands alone, so that few phases result.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Literal

from rnnc.compiler.ir.dataflow import Dataflow
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, SOURCE_OPS

from .fusion_groups import build_fusion_groups
from .plan import Phase, PhaseKind

Block = tuple[PhaseKind, tuple[int, ...]]
"""The ids of values that cannot be separated, and the kind of phase that they need."""


def distribute_loops(dataflow: Dataflow, *, sink_elementwise: bool) -> tuple[Phase, ...]:
    """Cut a dataflow into phases, forward ones first.

    With `sink_elementwise`, elementwise values whose only users are in one loop move into it.
    """
    blocks = _find_blocks(dataflow)
    if sink_elementwise:
        blocks = _sink_elementwise(dataflow, blocks)
    phases: list[Phase] = []
    for adjoint in (False, True):
        for kind, value_ids in _order_blocks(dataflow, blocks, adjoint=adjoint):
            direction = _infer_direction(dataflow, value_ids) if kind in {"loop", "scan"} else 0
            groups = build_fusion_groups(dataflow, value_ids)
            phases.append(Phase(len(phases), kind, direction, adjoint, groups))
    return tuple(phases)


def _find_blocks(dataflow: Dataflow) -> list[Block]:
    """Classify the components that are no sources, in topological order."""
    blocks: list[Block] = []
    for component in dataflow.components:
        values = [dataflow.values[value_id] for value_id in component]
        if values[0].operation in SOURCE_OPS:
            continue
        kind: PhaseKind
        if component[0] in dataflow.cyclic_values:
            scans = sum(value.operation == "linear" for value in values)
            is_scan = all(value.operation in {"linear", "state"} for value in values)
            kind = "scan" if is_scan and scans == 1 else "loop"
        else:
            is_forward_call = values[0].rate == "call" and not values[0].adjoint
            kind = "once" if is_forward_call else "batched"
        blocks.append((kind, component))
    return blocks


def _sink_elementwise(dataflow: Dataflow, blocks: list[Block]) -> list[Block]:
    """Move elementwise values whose only users are in one loop into that loop."""
    block_of = {n: i for i, (_, value_ids) in enumerate(blocks) for n in value_ids}
    results = {operand.value for operand in dataflow.results}
    results |= {gradient.value for gradient in dataflow.gradients}
    sunk: dict[int, list[int]] = {}
    for index in range(len(blocks) - 1, -1, -1):
        kind, value_ids = blocks[index]
        value = dataflow.values[value_ids[0]]
        if kind != "batched" or value.operation not in ELEMENTWISE_OPS or value.rate != "step":
            continue
        targets = {block_of.get(user, -1) for user in dataflow.users[value.id]}
        has_delayed_use = any(
            operand.delay
            for user in dataflow.users[value.id]
            for operand in dataflow.values[user].operands
            if operand.value == value.id
        )
        if len(targets) != 1 or value.id in results or has_delayed_use:
            continue
        target = targets.pop()
        if target >= 0 and blocks[target][0] in {"loop", "scan"}:
            block_of[value.id] = target
            sunk.setdefault(target, []).append(value.id)
    all_sunk = {value_id for value_ids in sunk.values() for value_id in value_ids}
    return [
        (kind, tuple(sorted((*value_ids, *sunk.get(index, ())))))
        for index, (kind, value_ids) in enumerate(blocks)
        if value_ids[0] not in all_sunk
    ]


def _order_blocks(dataflow: Dataflow, blocks: list[Block], *, adjoint: bool) -> Iterable[Block]:
    """Merge the blocks of one pass into phases, in execution order.

    Values that depend on an incoming cotangent are computed as early as possible; all else of the
    backward pass (derivatives, rematerialized values) directly before its first user.
    """
    worklist = _Worklist(
        dataflow,
        [b for b in blocks if dataflow.values[b[1][0]].adjoint == adjoint],
        _cotangent_free_values(dataflow) if adjoint else frozenset[int](),
    )
    while worklist.pending:
        pending = len(worklist.pending)
        kinds: tuple[Literal["once", "batched"], ...] = ("once", "batched")
        for kind in kinds:
            value_ids = worklist.take_ready(kind)
            if value_ids:
                yield kind, value_ids
        loop = worklist.take_ready_loop()
        if loop is not None:
            loop_kind, operands, value_ids = loop
            if operands:
                yield "batched", operands
            yield loop_kind, value_ids
        assert len(worklist.pending) < pending, sorted(worklist.pending)


class _Worklist:
    """The blocks that are not scheduled yet; a block is ready when its operands are scheduled.

    pending: the ids of their values.
    deferred: ids of values that are scheduled only when a user takes them; no block waits for them.
    """

    def __init__(self, dataflow: Dataflow, blocks: list[Block], deferred: frozenset[int]) -> None:
        self.pending = {value_id for _, value_ids in blocks for value_id in value_ids}
        self._dataflow, self._blocks = dataflow, blocks
        self._positions = {
            value_id: position
            for position, value_id in enumerate(n for _, value_ids in blocks for n in value_ids)
        }
        # A loop into which deferred elementwise values were sunk is not deferred itself.
        self._is_deferred = [deferred.issuperset(value_ids) for _, value_ids in blocks]
        # How many operands of each block are not scheduled.
        self._unmet = [0] * len(blocks)
        self._dependents: dict[int, list[int]] = {}
        # By kind a heap of the indices of ready blocks.
        self._ready: dict[str, list[int]] = {"once": [], "batched": [], "loop": []}
        for index, (_, value_ids) in enumerate(blocks):
            operands = {r.value for n in value_ids for r in dataflow.values[n].operands}
            unmet = (operands & self.pending) - set(value_ids) - deferred
            self._unmet[index] = len(unmet)
            for value_id in unmet:
                self._dependents.setdefault(value_id, []).append(index)
            if not unmet:
                self._mark_ready(index)

    def take_ready(self, kind: Literal["once", "batched"]) -> tuple[int, ...]:
        """Remove all ready values of a kind, with their deferred operands, in block order."""
        taken: list[int] = []
        skipped: list[int] = []
        last = -1
        ready = self._ready[kind]
        while ready:
            index = heappop(ready)
            value_ids = self._blocks[index][1]
            if index < last:
                skipped.append(index)
            elif value_ids[0] in self.pending:
                last = index
                taken += self._take_missing_operands(value_ids)
                self._complete(value_ids)
                taken += value_ids
        for index in skipped:
            heappush(ready, index)
        return tuple(taken)

    def take_ready_loop(self) -> tuple[PhaseKind, tuple[int, ...], tuple[int, ...]] | None:
        """Remove the first ready loop or scan; return kind, deferred operands, and values."""
        ready = self._ready["loop"]
        while ready:
            kind, value_ids = self._blocks[heappop(ready)]
            if value_ids[0] in self.pending:
                operands = self._take_missing_operands(value_ids)
                self._complete(value_ids)
                return kind, operands, value_ids
        return None

    def _mark_ready(self, index: int) -> None:
        if not self._is_deferred[index]:
            kind = self._blocks[index][0]
            heappush(self._ready[kind if kind in {"once", "batched"} else "loop"], index)

    def _take_missing_operands(self, value_ids: tuple[int, ...]) -> tuple[int, ...]:
        """Remove the transitive unscheduled operands; return them in topological order."""
        values = self._dataflow.values
        block, missing = set(value_ids), set[int]()
        stack = [operand.value for value_id in value_ids for operand in values[value_id].operands]
        while stack:
            value_id = stack.pop()
            if value_id in self.pending and value_id not in block and value_id not in missing:
                missing.add(value_id)
                stack += [operand.value for operand in values[value_id].operands]
        operands = tuple(sorted(missing, key=self._positions.__getitem__))
        self._complete(operands)
        return operands

    def _complete(self, value_ids: tuple[int, ...]) -> None:
        """Mark values as scheduled, and the blocks that waited for nothing else as ready."""
        self.pending.difference_update(value_ids)
        for value_id in value_ids:
            for index in self._dependents.get(value_id, ()):
                self._unmet[index] -= 1
                if not self._unmet[index]:
                    self._mark_ready(index)


def _cotangent_free_values(dataflow: Dataflow) -> frozenset[int]:
    """Collect the acyclic adjoint values that depend on no incoming cotangent."""
    dependent: set[int] = set()
    for component in dataflow.components:
        values = [dataflow.values[value_id] for value_id in component]
        operands = {operand.value for value in values for operand in value.operands}
        has_seed = any(value.operation == "seed" for value in values)
        if has_seed or operands & dependent:
            dependent.update(component)
    return frozenset(
        v.id
        for v in dataflow.values
        if v.adjoint and v.id not in dependent and v.id not in dataflow.cyclic_values
        if v.id not in dataflow.gradients_by_value
    )


def _infer_direction(dataflow: Dataflow, value_ids: tuple[int, ...]) -> Literal[-1, 0, 1]:
    members = set(value_ids)
    delays = {
        operand.delay
        for value_id in value_ids
        for operand in dataflow.values[value_id].operands
        if operand.value in members
    }
    return -1 if any(delay < 0 for delay in delays) else 1
