"""The operator graph while it grows: nodes are shared when they mean the same value."""

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
"""Nodes of one graph."""


@dataclass(slots=True)
class UnsizedNode:
    """A node whose width is not yet known."""

    operation: str
    operands: tuple[Operand, ...]
    size: Dim
    attributes: tuple[Attribute, ...]
    application: int
    span: Span


@dataclass(slots=True)
class PendingApplication:
    """An application of an operator, its results filled in once they are known."""

    name: str
    path: str
    parent: int
    operands: tuple[tuple[Operand, ...], ...]
    span: Span
    results: tuple[Operand, ...] = ()


@dataclass(slots=True)
class GraphBuilder:
    """Everything about one model that is shared by all of its scopes.

    `applied_operators` holds the places of the definitions that were applied.
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
    """Expanded bodies by the identity of the definition and the arguments given to it."""
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
        """A node's value, the node being an existing one where that means the same.

        Random nodes are never shared: each has a mask of its own.
        """
        key = (operation, operands, attributes, self.sizes.find_root(size) if not operands else 0)
        if deduplicate and key in self._value_numbers:
            number = self._value_numbers[key]
            if operands:
                self.sizes.unify(self.nodes[number].size, size)
            return Operand(number)
        if len(self.nodes) >= NODE_LIMIT:
            self.report.error(
                "RNN214",
                f"this model has more than {NODE_LIMIT} operations",
                span,
                hint="operators used inside operators multiply: name shared values as locals",
            )
            raise ElaborationError
        self.nodes.append(UnsizedNode(operation, operands, size, attributes, application, span))
        number = len(self.nodes) - 1
        if deduplicate:
            self._value_numbers[key] = number
        return Operand(number)

    def sized_node(self, node_id: int) -> Node:
        """A node as it is in a graph, once sizes are known, with its number in the assembly."""
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
        """The nodes that the roots need, renumbered in their order, and their applications.

        Also the map from the old numbers of nodes to the new ones.
        """
        needed = self.reachable_nodes(roots)
        renumbered = {old: new for new, old in enumerate(sorted(needed))}
        nodes = [self.nodes[old] for old in sorted(needed)]
        live: set[int] = set()
        for node in nodes:
            application = node.application
            while application >= 0 and application not in live:
                live.add(application)
                application = self.applications[application].parent
        chosen = {old: new for new, old in enumerate(sorted(live))}
        chosen[-1] = -1
        names = {
            value.operand.node: name
            for name, value, _ in reversed(self.named_values)
            if isinstance(value, Vector) and not value.operand.delay
        }

        def renew(operands: tuple[Operand, ...]) -> tuple[Operand, ...]:
            return tuple(
                Operand(renumbered[o.node], o.delay) for o in operands if o.node in renumbered
            )

        return (
            tuple(
                Node(
                    number,
                    node.operation,
                    renew(node.operands),
                    self.sizes.value(node.size) or 0,
                    node.attributes,
                    chosen[node.application],
                    node.span,
                    names.get(old, ""),
                )
                for number, (old, node) in enumerate(zip(sorted(needed), nodes, strict=True))
            ),
            renumbered,
            tuple(
                Application(
                    chosen[old],
                    self.applications[old].name,
                    self.applications[old].path,
                    chosen[self.applications[old].parent],
                    tuple(renew(part) for part in self.applications[old].operands),
                    renew(self.applications[old].results),
                    self.applications[old].span,
                )
                for old in sorted(live)
            ),
        )

    def reachable_nodes(self, roots: list[int]) -> set[int]:
        """The nodes that some nodes depend on, themselves included."""
        needed: set[int] = set()
        waiting = list(roots)
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                waiting += [operand.node for operand in self.nodes[number].operands]
        return needed
