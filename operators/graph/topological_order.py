"""Topological order of operator graphs along edges without delay (Kahn 1962)."""

from __future__ import annotations

from collections.abc import Sequence

from .operator_graph import OperatorGraph


def topological_order(graph: OperatorGraph, nodes: Sequence[int] | None = None) -> list[int]:
    """Return nodes, each after its operands of the same step.

    nodes: a part of the graph, whose edges from elsewhere do not count; by default all nodes.
    Nodes on or behind a cycle without delay are left out.
    """
    chosen = range(len(graph.nodes)) if nodes is None else nodes
    operand_counts = dict.fromkeys(chosen, 0)
    readers: dict[int, list[int]] = {node: [] for node in chosen}
    for node in chosen:
        for operand in graph.nodes[node].operands:
            if not operand.delay and operand.node in readers:
                readers[operand.node].append(node)
                operand_counts[node] += 1
    ready = [node for node, count in operand_counts.items() if not count]
    order: list[int] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for reader in readers[node]:
            operand_counts[reader] -= 1
            if not operand_counts[reader]:
                ready.append(reader)
    return order
