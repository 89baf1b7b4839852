"""Fusion groups: a phase in groups of roots (matmuls, reductions) and an epilogue.

Longest-path layering: a value's group is one after that of each operand which must be finished
before it, otherwise the same.
"""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Dataflow
from rnnc.compiler.ir.ops import REDUCTION_OPS, WHOLE_VECTOR_OPS

from .plan import FusionGroup


def build_fusion_groups(dataflow: Dataflow, value_ids: tuple[int, ...]) -> tuple[FusionGroup, ...]:
    """Group the values of a phase, each after its undelayed operands; roots begin a group."""
    members = set(value_ids)
    level: dict[int, int] = {}
    for value_id in _topological_order(dataflow, value_ids):
        is_root = _is_root(dataflow, value_id)
        level[value_id] = 0
        for operand in dataflow.values[value_id].operands:
            source = operand.value
            is_previous_step = operand.delay and _is_same_component(dataflow, value_id, source)
            if source not in members or is_previous_step:
                continue
            # Whole vectors and other steps are complete only at the end of a group.
            needs_barrier = is_root or operand.delay != 0
            level[value_id] = max(level[value_id], level[source] + needs_barrier)
    layers: list[list[int]] = [[] for _ in range(max(level.values()) + 1)]
    for value_id, layer in level.items():
        layers[layer].append(value_id)
    groups = [
        FusionGroup(
            tuple(value_id for value_id in layer if _is_root(dataflow, value_id)),
            tuple(value_id for value_id in layer if not _is_root(dataflow, value_id)),
        )
        for layer in layers
    ]
    return tuple(group for group in groups if group.values)


def _is_root(dataflow: Dataflow, value_id: int) -> bool:
    operation = dataflow.values[value_id].operation
    return operation in WHOLE_VECTOR_OPS or operation in REDUCTION_OPS


def _topological_order(dataflow: Dataflow, value_ids: tuple[int, ...]) -> list[int]:
    """Sort values after their undelayed operands, outside of cycles also after delayed ones."""
    members, done = set(value_ids), set[int]()
    order: list[int] = []
    for root in sorted(value_ids):
        stack = [root]
        while stack:
            value_id = stack[-1]
            unordered = [
                operand.value
                for operand in dataflow.values[value_id].operands
                if operand.value in members
                and operand.value not in done
                and (not operand.delay or not _is_same_component(dataflow, value_id, operand.value))
            ]
            if value_id not in done and unordered:
                stack += reversed(unordered)
                continue
            stack.pop()
            if value_id not in done:
                done.add(value_id)
                order.append(value_id)
    return order


def _is_same_component(dataflow: Dataflow, a: int, b: int) -> bool:
    return dataflow.component_of[a] == dataflow.component_of[b]
