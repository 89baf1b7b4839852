"""Fusion groups: elementwise operations computed in one pass over their entries."""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Dataflow
from rnnc.compiler.ir.ops import REDUCTION_OPS, WHOLE_VECTOR_OPS

from .plan import FusionGroup


def build_fusion_groups(dataflow: Dataflow, value_ids: tuple[int, ...]) -> tuple[FusionGroup, ...]:
    """Values in groups, each after what it reads of the same step; wide ones begin a group."""
    inside = set(value_ids)
    level: dict[int, int] = {}
    for number in _topological_order(dataflow, value_ids):
        wide = _is_root(dataflow, number)
        level[number] = 0
        for read in dataflow.values[number].operands:
            if read.value not in inside or (
                read.delay and _is_same_component(dataflow, number, read.value)
            ):
                continue
            # Whole vectors, and other steps, are there only when a group has ended.
            later = wide or read.delay != 0
            level[number] = max(level[number], level[read.value] + later)
    layers: list[list[int]] = [[] for _ in range(max(level.values()) + 1)]
    for number, at in level.items():
        layers[at].append(number)
    groups: list[FusionGroup] = []
    for members in layers:
        wide_ones = tuple(n for n in members if _is_root(dataflow, n))
        groups.append(
            FusionGroup(wide_ones, tuple(n for n in members if not _is_root(dataflow, n)))
        )
    return tuple(group for group in groups if group.values)


def _is_root(flow: Dataflow, number: int) -> bool:
    operation = flow.values[number].operation
    return operation in WHOLE_VECTOR_OPS or operation in REDUCTION_OPS


def _topological_order(flow: Dataflow, numbers: tuple[int, ...]) -> list[int]:
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
                and (not read.delay or not _is_same_component(flow, number, read.value))
            ]
            if number not in done and needs:
                stack += reversed(needs)
                continue
            stack.pop()
            if number not in done:
                done.add(number)
                order.append(number)
    return order


def _is_same_component(flow: Dataflow, a: int, b: int) -> bool:
    return flow.component_of[a] == flow.component_of[b]
