"""Group nodes into units of a layer: a weight, an activation with sum and bias, a gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rnnc.operators.graph.operator_graph import Node, OperatorGraph
from rnnc.operators.semantics.primitives import PRIMITIVES_BY_NAME
from rnnc.runtime.diagrams.model.diagram import Box, BoxRole
from rnnc.runtime.diagrams.model.labels import Label, TextRun, name_label, plain_label

from .functions import SYMBOLS, function_label, parameter_details, value_details
from .variables import node_key, source_location

ACTIVATIONS: Final = frozenset(
    f.name
    for f in PRIMITIVES_BY_NAME.values()
    if len(f.operands) == 1 and not f.constants and not f.is_random
)


@dataclass(slots=True)
class UnitAssignment:
    """The unit of each node: `head[n]` is the node that computes the unit's value."""

    graph: OperatorGraph
    head: dict[int, int] = field(default_factory=dict)

    def members(self) -> dict[int, list[int]]:
        """Return the nodes of each unit, by its head."""
        members_by_head: dict[int, list[int]] = {}
        for number in sorted(self.head):
            members_by_head.setdefault(self.head[number], []).append(number)
        return members_by_head


def group_units(graph: OperatorGraph, visible_nodes: frozenset[int]) -> UnitAssignment:
    """Group nodes into units: sums join their activation, weights join their reader."""
    readers: dict[int, list[tuple[int, int]]] = {}
    for source, target, delay in graph.edges():
        if target in visible_nodes:
            readers.setdefault(source, []).append((target, delay))
    roots = set(graph.roots)
    units = UnitAssignment(graph)
    for node in reversed(graph.nodes):
        if node.id not in visible_nodes or node.operation in {"input", "state"}:
            continue
        reader_operations = [
            graph.nodes[reader].operation for reader, _ in readers.get(node.id, [])
        ]
        is_inlined = (
            node.operation in {"parameter", "constant"} and "state" not in reader_operations
        )
        if is_inlined and node.id not in roots:  # shown in its readers' boxes
            continue
        units.head[node.id] = node.id
        if node.id in roots or len(readers.get(node.id, [])) != 1:
            continue
        reader, delay = readers[node.id][0]
        parent = graph.nodes[reader]
        if delay or parent.application != node.application or reader not in units.head:
            continue
        can_join = parent.operation in ACTIVATIONS or (
            parent.operation == "add" and not node.local_name
        )
        if node.operation == "add" and can_join:
            units.head[node.id] = units.head[reader]
    return units


def build_unit_box(graph: OperatorGraph, head: Node, members: list[int], cluster: str) -> Box:
    """Build the box of one unit."""
    arrays = _used_parameters(graph, members)
    role, label, notes = _unit_label(graph, head, members, arrays)
    if head.local_name and role in {"unit", "point"}:
        label = (*name_label(head.local_name), TextRun(" = "), *label)
        role = "unit"
    details = value_details(graph, head)
    for array in arrays:
        details = (*details, *parameter_details(graph.parameters_by_name[array]))
    return Box(
        node_key(head.id),
        role,
        label,
        notes,
        cluster,
        tuple(members),
        tuple(arrays),
        details=details,
        location=source_location(head.span),
    )


def _used_parameters(graph: OperatorGraph, members: list[int]) -> list[str]:
    """Return the names of the parameters of a unit, in order."""
    names: list[str] = []
    for number in members:
        for operand in graph.nodes[number].operands:
            node = graph.nodes[operand.node]
            if node.operation == "parameter" and str(node.attributes[0]) not in names:
                names.append(str(node.attributes[0]))
    return names


def _unit_label(
    graph: OperatorGraph, head: Node, members: list[int], arrays: list[str]
) -> tuple[BoxRole, Label, tuple[Label, ...]]:
    operands = [graph.nodes[operand.node] for operand in head.operands]
    if head.operation in {"parameter", "constant"}:
        if head.operation == "constant":
            return "value", plain_label(f"{head.attributes[0]:.4g}"), ()
        return "value", _short_name(str(head.attributes[0])), ()
    if head.operation in {"matmul", "lookup"} and operands[0].operation == "parameter":
        parameter = graph.parameters_by_name[arrays[0]]
        transposed = (
            (TextRun("T", "above"),) if head.attributes and head.attributes[0] is True else ()
        )
        frozen = " frozen" if parameter.is_frozen else ""
        shape = plain_label(" × ".join(map(str, parameter.shape)) + frozen)
        return "map", (*_short_name(arrays[0]), *transposed), (shape,)
    if head.operation == "multiply" and len(arrays) == 1 and operands[0].operation == "parameter":
        return "map", (*_short_name(arrays[0]), TextRun(" ⊙")), (plain_label(str(head.size)),)
    if head.operation in SYMBOLS:
        constant = _constant_label(head, operands)
        if constant:
            return "unit", constant, ()
    notes: tuple[Label, ...] = ()
    if arrays:
        note: list[TextRun] = []
        for array in arrays:
            note += [TextRun("+ " if not note else " + "), *_short_name(array)]
        if head.operation not in SYMBOLS and len(members) == 1:
            note = [run for array in arrays for run in (*_short_name(array), TextRun(" "))]
        notes = (tuple(note),)
    role: BoxRole = "point" if head.operation in SYMBOLS and not notes else "unit"
    if head.operation == "add" and notes:
        return "unit", notes[0], ()
    return role, function_label(head), notes


def _constant_label(head: Node, operands: list[Node]) -> Label:
    """Label arithmetic with a number: `1 −`, `0.5 ⊙`."""
    symbol = SYMBOLS[head.operation]
    if head.operation == "negate" or len(operands) != 2:
        return ()
    if operands[0].operation == "constant":
        return plain_label(f"{operands[0].attributes[0]:.4g} {symbol}")
    if operands[1].operation == "constant":
        return plain_label(f"{symbol} {operands[1].attributes[0]:.4g}")
    return ()


def _short_name(parameter: str) -> Label:
    return name_label(parameter.rpartition(".")[2])
