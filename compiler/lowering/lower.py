"""Lowering: operator graph -> forward dataflow of elementary operations.

softmax, the norms, lp, dropout and the like become sums, quotients and masks, so that neither VJP
rules nor backends know them. Outside of training dropout is the identity.
"""

from __future__ import annotations

from typing import Final

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand, Rate
from rnnc.operators.graph.operator_graph import Attribute, Node, OperatorGraph
from rnnc.operators.graph.operator_graph import Operand as GraphOperand

from .decompositions import DECOMPOSITIONS, mean_entries

_UNCHANGED_OPS: Final = frozenset(
    {"tanh", "sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign", "exp"}
    | {"log", "abs", "sqrt", "sin", "cos", "negate", "add", "subtract", "multiply", "divide"}
    | {"concatenate", "slice", "matmul", "lookup", "stopgrad", "logaddexp"}
)
_WINDOW_READING_OPS: Final = frozenset({"scores", "mix", "matches", "log_mix"})


def lower(graph: OperatorGraph, *, training: bool) -> Dataflow:
    """Lower a graph to its forward dataflow; laws and loss inputs only in training.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    builder = Builder(graph)
    lowered = _create_inputs(builder)
    states: dict[int, int] = {}
    # A state may be used before the node of its next value is lowered: its operand comes last.
    for state in graph.states:
        lowered[state.node] = builder.create_source(
            "state", (state.name,), (state.type.size,), "step", state.node
        )
        states[state.node] = lowered[state.node].value
    for node_id in _topological_order(graph, _reachable_nodes(graph, training=training)):
        if node_id not in lowered:
            node = graph.nodes[node_id]
            lowered[node_id] = _lower_node(builder, node, lowered, training=training)
    for node_id, value_id in states.items():
        next_value = _operand(graph.nodes[node_id].operands[0], lowered)
        builder.values[value_id].operands = (next_value,)
    builder.outputs = [_operand(output.value, lowered) for output in graph.outputs]
    if training:
        for law in graph.laws:
            left, right = _operand(law.left, lowered), _operand(law.right, lowered)
            difference = builder.create("subtract", left, right)
            builder.laws.append(mean_entries(builder, builder.create("square", difference)))
        builder.loss_inputs = [_operand(operand, lowered) for operand in graph.loss_inputs]
    return builder.build()


def _create_inputs(builder: Builder) -> dict[int, Operand]:
    inputs: dict[int, Operand] = {}
    for variable in builder.graph.inputs:
        shape = () if variable.type.kind == "symbol" else (variable.type.size,)
        inputs[variable.node] = builder.create_source(
            "input", (variable.name,), shape, "step", variable.node
        )
    return inputs


def _reachable_nodes(graph: OperatorGraph, *, training: bool) -> set[int]:
    pending = [output.value.node for output in graph.outputs]
    pending += [state.node for state in graph.states]
    if training:
        pending += [side.node for law in graph.laws for side in (law.left, law.right)]
        pending += [operand.node for operand in graph.loss_inputs]
    reachable: set[int] = set()
    while pending:
        node_id = pending.pop()
        if node_id not in reachable:
            reachable.add(node_id)
            pending += [operand.node for operand in graph.nodes[node_id].operands]
    return reachable


def _topological_order(graph: OperatorGraph, nodes: set[int]) -> list[int]:
    """Sort nodes after their operands; states, which are lowered already, count as sources."""
    order: list[int] = []
    done: set[int] = set()
    for root in sorted(nodes):
        stack = [root]
        while stack:
            node_id = stack[-1]
            node = graph.nodes[node_id]
            unordered = [
                operand.node
                for operand in (() if node.operation == "state" else node.operands)
                if operand.node not in done and graph.nodes[operand.node].operation != "state"
            ]
            if node_id not in done and unordered:
                stack += reversed(unordered)
                continue
            stack.pop()
            if node_id not in done:
                done.add(node_id)
                order.append(node_id)
    return order


def _operand(operand: GraphOperand, lowered: dict[int, Operand]) -> Operand:
    source = lowered[operand.node]
    return Operand(source.value, source.delay + operand.delay)


def _lower_node(
    builder: Builder, node: Node, lowered: dict[int, Operand], *, training: bool
) -> Operand:
    operands = [_operand(operand, lowered) for operand in node.operands]
    operation, origin = node.operation, node.id
    if operation == "window":
        # A window has no value of its own: operations on it use the variable at both ends.
        return Operand(operands[0].value)
    if operation == "present" or operation in _WINDOW_READING_OPS:
        return _lower_window(builder, node, operands)
    if operation == "subtract" and _is_one(builder, operands[0]):
        return builder.create("one_minus", operands[1], origin=origin)
    if operation in _UNCHANGED_OPS:
        return builder.create(operation, *operands, attributes=node.attributes, origin=origin)
    if operation == "parameter":
        parameter = builder.graph.parameters_by_name[str(node.attributes[0])]
        return builder.create_source(
            "parameter", (parameter.name,), parameter.shape, "call", origin
        )
    if operation == "constant":
        constant = builder.create_source(
            "constant", (float(node.attributes[0]),), (1,), "call", origin
        )
        if node.size == 1:
            return constant
        return builder.create("spread", constant, attributes=(node.size,))
    if operation == "onehot":
        return builder.create("onehot", *operands, attributes=(node.size,), origin=origin)
    if operation in {"dropout", "variational", "zoneout"}:
        return _lower_random_mask(builder, node, operands, training=training)
    if operation not in DECOMPOSITIONS:
        raise Unsupported(f"it has no `{operation}`")
    return DECOMPOSITIONS[operation](builder, node, operands)


def _is_one(builder: Builder, operand: Operand) -> bool:
    value = builder.values[operand.value]
    return value.operation == "constant" and value.attributes == (1.0,)


def _lower_random_mask(
    builder: Builder, node: Node, operands: list[Operand], *, training: bool
) -> Operand:
    if not training:
        if node.operation != "zoneout":
            return operands[0]
        p = float(node.attributes[0])
        new, old = operands
        old_share = builder.create("multiply", builder.constant(p), old, origin=node.id)
        new_share = builder.create("multiply", builder.constant(1 - p), new, origin=node.id)
        return builder.create("add", old_share, new_share, origin=node.id)
    rate: Rate = "row" if node.operation == "variational" else "step"
    mask = builder.create_source("mask", (node.id,), (node.size,), rate, node.id)
    if node.operation == "zoneout":
        new, old = operands
        return builder.create("select", mask, old, new, origin=node.id)
    return builder.create("multiply", operands[0], mask, origin=node.id)


def _lower_window(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    window = builder.graph.nodes[node.operands[0].node]
    ends: tuple[Attribute, ...] = window.attributes
    first, last = (int(end) for end in ends)
    if node.operation == "present":
        return builder.create_source("present", ends, (node.size,), "step", node.id)
    variable, *others = operands
    if node.operation == "log_mix" and len(others) == 1:
        others.append(builder.create_source("present", ends, (first - last + 1,), "step"))
    return builder.create(
        node.operation,
        Operand(variable.value, first),
        Operand(variable.value, last),
        *others,
        attributes=(*ends, node.size) if node.operation in {"mix", "log_mix"} else ends,
        origin=node.id,
    )
