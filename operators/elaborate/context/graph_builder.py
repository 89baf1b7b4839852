"""Build the operator graph of one model, with value numbering (equal nodes are one node).

Input: nodes in the order of evaluation, with unknown sizes; output: the nodes that roots depend
on, with their sizes, in the order in which they were added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.operators.analysis.state_reads import StateRead
from rnnc.operators.graph.operator_graph import Application, Attribute, Node, Operand

from .parameters import ParameterTable
from .size_inference import Dim, SizeSolver
from .values import ElaborationError, Value, Vector

NODE_LIMIT: Final = 200_000
"""Maximal number of nodes of one graph; operators inside operators multiply them."""


@dataclass(slots=True)
class UnsizedNode:
    """Node with a size that is not inferred yet."""

    operation: str
    operands: tuple[Operand, ...]
    size: Dim
    attributes: tuple[Attribute, ...]
    application: int
    span: Span


@dataclass(slots=True)
class PendingApplication:
    """Application of an operator; its results are set after its body is evaluated."""

    name: str
    path: str
    parent: int
    operands: tuple[tuple[Operand, ...], ...]
    span: Span
    results: tuple[Operand, ...] = ()


@dataclass(slots=True)
class GraphBuilder:
    """Graph under construction and all else that the scopes of one model share.

    `applied_operators` holds the spans of the definitions that were applied.
    """

    report: Report
    sizes: SizeSolver = field(default_factory=SizeSolver)
    nodes: list[UnsizedNode] = field(default_factory=list)
    applications: list[PendingApplication] = field(default_factory=list)
    state_reads: list[StateRead] = field(default_factory=list)
    named_values: list[tuple[str, Value, Span]] = field(default_factory=list)
    reported_shape_conflicts: set[Span] = field(default_factory=set)
    applied_operators: set[Span] = field(default_factory=set)
    symbol_nodes: set[int] = field(default_factory=set)
    target_nodes: dict[str, int] = field(default_factory=dict)
    expanded_bodies: dict[tuple[object, ...], tuple[syntax.Statement, ...]] = field(
        default_factory=dict
    )
    """Expanded bodies by the identity of a definition and its template arguments."""
    parameter_table: ParameterTable = field(init=False)
    _value_numbers: dict[tuple[object, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parameter_table = ParameterTable(self.sizes, self.report)

    def add_node(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        size: Dim,
        span: Span,
        attributes: tuple[Attribute, ...] = (),
        *,
        application: int = -1,
        deduplicate: bool = True,
    ) -> Operand:
        """Add a node, or find the equal one, and return its value.

        deduplicate: false for random nodes, each of which has a mask of its own.
        """
        key = (operation, operands, attributes, self.sizes.find_root(size) if not operands else 0)
        if deduplicate and key in self._value_numbers:
            node_id = self._value_numbers[key]
            if operands:
                self.sizes.unify(self.nodes[node_id].size, size)
            return Operand(node_id)
        if len(self.nodes) >= NODE_LIMIT:
            self.report.error(
                "RNN214",
                f"this model has more than {NODE_LIMIT} operations",
                span,
                hint="operators used inside operators multiply: name shared values as locals",
            )
            raise ElaborationError
        self.nodes.append(UnsizedNode(operation, operands, size, attributes, application, span))
        node_id = len(self.nodes) - 1
        if deduplicate:
            self._value_numbers[key] = node_id
        return Operand(node_id)

    def sized_node(self, node_id: int) -> Node:
        """Return a node with its inferred size, under its id in the builder."""
        node = self.nodes[node_id]
        size = self.sizes.value(node.size) or 0
        return Node(
            node_id,
            node.operation,
            node.operands,
            size,
            node.attributes,
            node.application,
            node.span,
        )

    def build(
        self, roots: list[int]
    ) -> tuple[tuple[Node, ...], dict[int, int], tuple[Application, ...]]:
        """Return the nodes that the roots depend on, renumbered, and their applications.

        Between the two, the map from old ids of nodes to new ones. The order of nodes stays.
        """
        reachable = self.reachable_nodes(roots)
        new_ids = {old: new for new, old in enumerate(sorted(reachable))}
        nodes = [self.nodes[old] for old in sorted(reachable)]
        live_applications: set[int] = set()
        for node in nodes:
            application = node.application
            while application >= 0 and application not in live_applications:
                live_applications.add(application)
                application = self.applications[application].parent
        new_application_ids = {old: new for new, old in enumerate(sorted(live_applications))}
        new_application_ids[-1] = -1
        names = {
            value.operand.node: name
            for name, value, _ in reversed(self.named_values)
            if isinstance(value, Vector) and not value.operand.delay
        }

        def renumber(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
            return tuple(Operand(new_ids[o.node], o.delay) for o in operands if o.node in new_ids)

        return (
            tuple(
                Node(
                    new_id,
                    node.operation,
                    renumber(node.operands),
                    self.sizes.value(node.size) or 0,
                    node.attributes,
                    new_application_ids[node.application],
                    node.span,
                    names.get(old, ""),
                )
                for new_id, (old, node) in enumerate(zip(sorted(reachable), nodes, strict=True))
            ),
            new_ids,
            tuple(
                Application(
                    new_application_ids[old],
                    self.applications[old].name,
                    self.applications[old].path,
                    new_application_ids[self.applications[old].parent],
                    tuple(renumber(part) for part in self.applications[old].operands),
                    renumber(self.applications[old].results),
                    self.applications[old].span,
                )
                for old in sorted(live_applications)
            ),
        )

    def reachable_nodes(self, roots: list[int]) -> set[int]:
        """Return the nodes that the roots depend on, the roots included."""
        reachable: set[int] = set()
        pending = list(roots)
        while pending:
            node_id = pending.pop()
            if node_id not in reachable:
                reachable.add(node_id)
                pending += [operand.node for operand in self.nodes[node_id].operands]
        return reachable
