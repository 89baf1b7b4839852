"""Recognize graphs with a window in a cycle, which no GPU kernel supports."""

from __future__ import annotations

from rnnc.operators.graph.operator_graph import OperatorGraph


def has_window_in_a_cycle(graph: OperatorGraph) -> bool:
    """Test that a state reads its own past or future through a window."""
    return any(
        node.operation == "window" and any(
            node.id in c and node.operands[0].node in c for c in graph.components
        )
        for node in graph.nodes
    )  # fmt: skip
