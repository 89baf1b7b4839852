"""Operator graph -> flow: composite operations taken apart into elementary ones.

softmax, the norms, lp, dropout and their kin become sums, quotients and masks, so that neither the
derivative rules nor the backends know them. Out of training dropout is nothing. Where entries may
be missing, what is taken out of exponents, and what is divided by, is chosen so that no infinity
meets a gradient.
"""

from __future__ import annotations

from typing import Final

from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read
from rnnc.operators.graph.operator_graph import Attribute, Node, OperatorGraph
from rnnc.operators.graph.operator_graph import Operand as GraphOperand

from .decompositions import _COMPOSITE, _mean

_SAME: Final = frozenset(
    {"tanh", "sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "softsign", "exp"}
    | {"log", "abs", "sqrt", "sin", "cos", "negate", "add", "subtract", "multiply", "divide"}
    | {"concatenate", "slice", "matmul", "lookup", "stopgrad", "logaddexp"}
)
_WINDOWED: Final = frozenset({"scores", "mix", "matches", "log_mix"})


def lower(graph: OperatorGraph, *, training: bool) -> Flow:
    """The forward flow of a graph.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    draft = Draft(graph)
    known = _sources(draft)
    states: dict[int, int] = {}
    # A state may be read before the node that it takes its value from exists.
    for state in graph.states:
        known[state.node] = draft.source(
            "state", (state.name,), (state.type.size,), "step", state.node
        )
        states[state.node] = known[state.node].value
    wanted = _wanted(graph, training=training)
    for number in _instant_order(graph, wanted):
        if number not in known:
            known[number] = _lowered(draft, graph.nodes[number], known, training=training)
    for node, value in states.items():
        operand = _read(graph.nodes[node].operands[0], known)
        draft.values[value].operands = (operand,)
    draft.outputs = [_read(output.value, known) for output in graph.outputs]
    if training:
        for law in graph.laws:
            difference = draft.add("subtract", _read(law.left, known), _read(law.right, known))
            draft.laws.append(_mean(draft, draft.add("square", difference)))
        draft.kept = [_read(operand, known) for operand in graph.kept]
    return draft.finish()


def _sources(draft: Draft) -> dict[int, Read]:
    known: dict[int, Read] = {}
    for variable in draft.graph.inputs:
        shape = () if variable.type.kind == "symbol" else (variable.type.size,)
        known[variable.node] = draft.source("input", (variable.name,), shape, "step", variable.node)
    return known


def _wanted(graph: OperatorGraph, *, training: bool) -> set[int]:
    roots = [output.value.node for output in graph.outputs]
    roots += [state.node for state in graph.states]
    if training:
        roots += [side.node for law in graph.laws for side in (law.left, law.right)]
        roots += [operand.node for operand in graph.kept]
    wanted: set[int] = set()
    while roots:
        number = roots.pop()
        if number not in wanted:
            wanted.add(number)
            roots += [operand.node for operand in graph.nodes[number].operands]
    return wanted


def _instant_order(graph: OperatorGraph, wanted: set[int]) -> list[int]:
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


def _read(operand: GraphOperand, known: dict[int, Read]) -> Read:
    found = known[operand.node]
    return Read(found.value, found.delay + operand.delay)


def _lowered(draft: Draft, node: Node, known: dict[int, Read], *, training: bool) -> Read:
    operands = [_read(operand, known) for operand in node.operands]
    operation, origin = node.operation, node.number
    if operation == "window":
        # It has no value of its own: what looks through it reads the variable.
        return Read(operands[0].value)
    if operation == "present" or operation in _WINDOWED:
        return _windowed(draft, node, operands)
    if operation == "subtract" and _is_one(draft, operands[0]):
        return draft.add("one_minus", operands[1], origin=origin)
    if operation in _SAME:
        return draft.add(operation, *operands, attributes=node.attributes, origin=origin)
    if operation == "parameter":
        parameter = draft.graph.by_parameter[str(node.attributes[0])]
        return draft.source("parameter", (parameter.name,), parameter.shape, "call", origin)
    if operation == "constant":
        number = draft.source("constant", (float(node.attributes[0]),), (1,), "call", origin)
        return number if node.size == 1 else draft.add("spread", number, attributes=(node.size,))
    if operation == "onehot":
        return draft.add("onehot", *operands, attributes=(node.size,), origin=origin)
    if operation in {"dropout", "variational", "zoneout"}:
        return _random(draft, node, operands, training=training)
    if operation not in _COMPOSITE:
        raise Unsupported(f"it has no `{operation}`")
    return _COMPOSITE[operation](draft, node, operands)


def _is_one(draft: Draft, read: Read) -> bool:
    value = draft.values[read.value]
    return value.operation == "constant" and value.attributes == (1.0,)


def _random(draft: Draft, node: Node, operands: list[Read], *, training: bool) -> Read:
    if not training:
        if node.operation != "zoneout":
            return operands[0]
        p = float(node.attributes[0])
        new, old = operands
        kept = draft.add("multiply", draft.constant(p), old, origin=node.number)
        fresh = draft.add("multiply", draft.constant(1 - p), new, origin=node.number)
        return draft.add("add", kept, fresh, origin=node.number)
    rate = "row" if node.operation == "variational" else "step"
    mask = draft.source("mask", (node.number,), (node.size,), rate, node.number)  # type: ignore[arg-type]
    if node.operation == "zoneout":
        new, old = operands
        return draft.add("select", mask, old, new, origin=node.number)
    return draft.add("multiply", operands[0], mask, origin=node.number)


def _windowed(draft: Draft, node: Node, operands: list[Read]) -> Read:
    window = draft.graph.nodes[node.operands[0].node]
    ends: tuple[Attribute, ...] = window.attributes
    first, last = (int(end) for end in ends)
    if node.operation == "present":
        return draft.source("present", ends, (node.size,), "step", node.number)
    variable, *others = operands
    if node.operation == "log_mix" and len(others) == 1:
        others.append(draft.source("present", ends, (first - last + 1,), "step"))
    return draft.add(
        node.operation,
        Read(variable.value, first),
        Read(variable.value, last),
        *others,
        attributes=(*ends, node.size) if node.operation in {"mix", "log_mix"} else ends,
        origin=node.number,
    )
