"""Fusion groups: elementwise operations computed in one pass over their entries."""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Flow
from rnnc.compiler.ir.ops import SUMS, WIDE

from .plan import Group


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
    layers: list[list[int]] = [[] for _ in range(max(level.values()) + 1)]
    for number, at in level.items():
        layers[at].append(number)
    groups: list[Group] = []
    for members in layers:
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
