"""Operator graph -> flow: composite operations taken apart into elementary ones.

softmax, the norms, lp, dropout and their kin become sums, quotients and masks, so that neither the
derivative rules nor the backends know them. Out of training dropout is nothing. Where entries may
be missing, what is taken out of exponents, and what is divided by, is chosen so that no infinity
meets a gradient.
"""

from __future__ import annotations

from typing import Final

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand
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
    """The forward flow of a graph.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    draft = Builder(graph)
    known = _create_inputs(draft)
    states: dict[int, int] = {}
    # A state may be read before the node that it takes its value from exists.
    for state in graph.states:
        known[state.node] = draft.create_source(
            "state", (state.name,), (state.type.size,), "step", state.node
        )
        states[state.node] = known[state.node].value
    wanted = _reachable_nodes(graph, training=training)
    for number in _topological_order(graph, wanted):
        if number not in known:
            known[number] = _lower_node(draft, graph.nodes[number], known, training=training)
    for node, value in states.items():
        operand = _operand(graph.nodes[node].operands[0], known)
        draft.values[value].operands = (operand,)
    draft.outputs = [_operand(output.value, known) for output in graph.outputs]
    if training:
        for law in graph.laws:
            difference = draft.create(
                "subtract", _operand(law.left, known), _operand(law.right, known)
            )
            draft.laws.append(mean_entries(draft, draft.create("square", difference)))
        draft.loss_inputs = [_operand(operand, known) for operand in graph.loss_inputs]
    return draft.build()


def _create_inputs(draft: Builder) -> dict[int, Operand]:
    known: dict[int, Operand] = {}
    for variable in draft.graph.inputs:
        shape = () if variable.type.kind == "symbol" else (variable.type.size,)
        known[variable.node] = draft.create_source(
            "input", (variable.name,), shape, "step", variable.node
        )
    return known


def _reachable_nodes(graph: OperatorGraph, *, training: bool) -> set[int]:
    roots = [output.value.node for output in graph.outputs]
    roots += [state.node for state in graph.states]
    if training:
        roots += [side.node for law in graph.laws for side in (law.left, law.right)]
        roots += [operand.node for operand in graph.loss_inputs]
    wanted: set[int] = set()
    while roots:
        number = roots.pop()
        if number not in wanted:
            wanted.add(number)
            roots += [operand.node for operand in graph.nodes[number].operands]
    return wanted


def _topological_order(graph: OperatorGraph, wanted: set[int]) -> list[int]:
    """The nodes that are wanted, each after its operands; states count as known."""
    order: list[int] = []
    done: set[int] = set()
    for root in sorted(wanted):
        stack = [root]
        while stack:
            number = stack[-1]
            node = graph.nodes[number]
            needs = [
                operand.node
                for operand in (() if node.operation == "state" else node.operands)
                if operand.node not in done and graph.nodes[operand.node].operation != "state"
            ]
            if number not in done and needs:
                stack += reversed(needs)
                continue
            stack.pop()
            if number not in done:
                done.add(number)
                order.append(number)
    return order


def _operand(operand: GraphOperand, known: dict[int, Operand]) -> Operand:
    found = known[operand.node]
    return Operand(found.value, found.delay + operand.delay)


def _lower_node(
    draft: Builder, node: Node, known: dict[int, Operand], *, training: bool
) -> Operand:
    operands = [_operand(operand, known) for operand in node.operands]
    operation, origin = node.operation, node.id
    if operation == "window":
        # It has no value of its own: what looks through it reads the variable.
        return Operand(operands[0].value)
    if operation == "present" or operation in _WINDOW_READING_OPS:
        return _lower_window(draft, node, operands)
    if operation == "subtract" and _is_one(draft, operands[0]):
        return draft.create("one_minus", operands[1], origin=origin)
    if operation in _UNCHANGED_OPS:
        return draft.create(operation, *operands, attributes=node.attributes, origin=origin)
    if operation == "parameter":
        parameter = draft.graph.parameters_by_name[str(node.attributes[0])]
        return draft.create_source("parameter", (parameter.name,), parameter.shape, "call", origin)
    if operation == "constant":
        number = draft.create_source("constant", (float(node.attributes[0]),), (1,), "call", origin)
        return number if node.size == 1 else draft.create("spread", number, attributes=(node.size,))
    if operation == "onehot":
        return draft.create("onehot", *operands, attributes=(node.size,), origin=origin)
    if operation in {"dropout", "variational", "zoneout"}:
        return _lower_mask(draft, node, operands, training=training)
    if operation not in DECOMPOSITIONS:
        raise Unsupported(f"it has no `{operation}`")
    return DECOMPOSITIONS[operation](draft, node, operands)


def _is_one(draft: Builder, read: Operand) -> bool:
    value = draft.values[read.value]
    return value.operation == "constant" and value.attributes == (1.0,)


def _lower_mask(draft: Builder, node: Node, operands: list[Operand], *, training: bool) -> Operand:
    if not training:
        if node.operation != "zoneout":
            return operands[0]
        p = float(node.attributes[0])
        new, old = operands
        kept = draft.create("multiply", draft.constant(p), old, origin=node.id)
        fresh = draft.create("multiply", draft.constant(1 - p), new, origin=node.id)
        return draft.create("add", kept, fresh, origin=node.id)
    rate = "row" if node.operation == "variational" else "step"
    mask = draft.create_source("mask", (node.id,), (node.size,), rate, node.id)  # type: ignore[arg-type]
    if node.operation == "zoneout":
        new, old = operands
        return draft.create("select", mask, old, new, origin=node.id)
    return draft.create("multiply", operands[0], mask, origin=node.id)


def _lower_window(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    window = draft.graph.nodes[node.operands[0].node]
    ends: tuple[Attribute, ...] = window.attributes
    first, last = (int(end) for end in ends)
    if node.operation == "present":
        return draft.create_source("present", ends, (node.size,), "step", node.id)
    variable, *others = operands
    if node.operation == "log_mix" and len(others) == 1:
        others.append(draft.create_source("present", ends, (first - last + 1,), "step"))
    return draft.create(
        node.operation,
        Operand(variable.value, first),
        Operand(variable.value, last),
        *others,
        attributes=(*ends, node.size) if node.operation in {"mix", "log_mix"} else ends,
        origin=node.id,
    )
