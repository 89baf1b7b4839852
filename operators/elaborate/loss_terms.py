"""`loss EXPR weight w` -> a graph of its own, computed when the targets are known.

What a term needs and does not depend on a target is computed with the model and kept; the rest, a
small graph, has the kept values and the targets as its inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnc.grammar import syntax
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.scope import Variable
from rnnc.operators.elaborate.context.size_inference import SizeConflictError
from rnnc.operators.elaborate.context.values import ElaborationError
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.graph.operator_graph import (
    Input,
    LossGraph,
    Node,
    Operand,
    OperatorGraph,
    Output,
    Parameter,
)
from rnnc.operators.graph.types import Type


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A term while its model is built."""

    operand: Operand
    weight: float
    text: str
    span: Span


def evaluate_loss_terms(
    statements: Iterable[syntax.Statement], evaluator: Evaluator
) -> list[LossTerm]:
    """The `loss` lines of a model; in them, and only there, an input has a next value, `x'`."""
    terms: list[LossTerm] = []
    evaluator.scope.in_loss = True
    for statement in statements:
        if not isinstance(statement, syntax.Loss):
            continue
        try:
            weight = (
                1.0 if statement.weight is None else evaluator.evaluate_constant(statement.weight)
            )
            value = evaluator.to_vector(evaluator.evaluate(statement.value), statement.value.span)
            evaluator.sizes.unify(value.size, evaluator.sizes.constant(1))
        except ElaborationError:
            continue
        except SizeConflictError as conflict:
            evaluator.report.error(
                "RNN301",
                f"a loss is one number, and `{statement.value.span.text}` is {conflict.left} wide",
                statement.value.span,
                hint="sum it: `sum(z)`, `dot(z, z)`",
            )
            continue
        text = statement.span.text
        terms.append(LossTerm(value.operand, float(weight), text, statement.span))
    evaluator.scope.in_loss = False
    return terms


@dataclass(frozen=True, slots=True)
class LossPartition:
    """The nodes of a model that only its `loss` terms need, as numbers of one graph.

    `inputs` are the values that the model computes for them; `target_nodes` are nodes by variable.
    """

    nodes: frozenset[int]
    inputs: tuple[Operand, ...]
    target_nodes: Mapping[str, int]
    window_nodes: frozenset[int]


def partition_loss_nodes(
    nodes: Mapping[int, Node],
    terms: Sequence[LossTerm],
    target_nodes: Mapping[str, int],
    outputs: Sequence[Operand],
) -> LossPartition:
    """What depends on a target, and what it needs of the rest; `nodes` come in order.

    Terms that need nothing keep an output, whose precision is the one that they are computed in.
    """
    late = set(target_nodes.values()) & nodes.keys()
    changed = True
    while changed:
        found = {n for n, node in nodes.items() if any(o.node in late for o in node.operands)}
        changed = not found <= late
        late |= found
    kept: dict[Operand, None] = {}
    windows: set[int] = set()
    needed = [o for n in sorted(late) for o in nodes[n].operands] + [term.operand for term in terms]
    for operand in needed:
        node = nodes[operand.node]
        if operand.node in late or node.operation in {"parameter", "constant"}:
            continue
        if node.operation == "window":
            windows.add(operand.node)
            variable = nodes[node.operands[0].node]
            if variable.operation == "state":
                kept[Operand(variable.id)] = None
            continue
        kept[operand] = None
    if terms and not kept:
        kept[outputs[0]] = None
    return LossPartition(frozenset(late), tuple(kept), target_nodes, frozenset(windows))


def build_loss_graph(
    name: str,
    nodes: Mapping[int, Node],
    partition: LossPartition,
    terms: Sequence[LossTerm],
    variables: Mapping[str, Variable],
    parameters: Sequence[Parameter],
) -> LossGraph:
    """The graph of the terms, whose inputs are what `LossGraph` says."""
    made: list[Node] = []
    renewed: dict[Operand, int] = {}
    inputs: list[Input] = []

    def add(node: Node, operands: tuple[Operand, ...]) -> int:
        made.append(
            Node(len(made), node.operation, operands, node.size, node.attributes, -1, node.span)
        )
        return len(made) - 1

    def add_input(name: str, type_: Type, old: Operand, history: int) -> None:
        span = nodes[old.node].span
        renewed[old] = len(made)
        made.append(Node(len(made), "input", (), type_.size, (name,), -1, span))
        inputs.append(Input(name, type_, renewed[old], history))

    for number, operand in enumerate(partition.inputs):
        add_input(f"kept {number}", Type("real", nodes[operand.node].size), operand, 0)
    for variable, node in partition.target_nodes.items():
        if node in nodes:
            add_input(f"{variable}'", variables[variable].type, Operand(node), 0)
    ends = [
        operand for number in sorted(partition.window_nodes) for operand in nodes[number].operands
    ]
    for source in dict.fromkeys(operand.node for operand in ends):
        text = str(nodes[source].attributes[0])
        back = max(0, *(operand.delay for operand in ends if operand.node == source))
        add_input(text, variables[text].type, Operand(source, _WINDOW_VARIABLE_DELAY), back)
    for number in sorted(partition.window_nodes):
        window = nodes[number]
        key = Operand(window.operands[0].node, _WINDOW_VARIABLE_DELAY)
        moved = tuple(Operand(renewed[key], operand.delay) for operand in window.operands)
        renewed[Operand(number)] = add(window, moved)

    def renew(operand: Operand) -> Operand:
        if operand not in renewed:
            node = nodes[operand.node]
            renewed[operand] = add(node, tuple(renew(o) for o in node.operands))
        return Operand(renewed[operand])

    for number in sorted(partition.nodes):
        renew(Operand(number))
    # One line in a `for` is several terms, and backends tell outputs apart by their names.
    counts: Counter[str] = Counter()
    outputs: list[Output] = []
    for term in terms:
        counts[term.text] += 1
        again = f" #{counts[term.text]}" if counts[term.text] > 1 else ""
        value = renew(term.operand)
        outputs.append(Output(f"{term.text}{again}", Type("real", 1), value, False, None))
    used = {str(node.attributes[0]) for node in made if node.operation == "parameter"}
    graph = OperatorGraph(
        f"{name} loss",
        tuple(made),
        tuple(inputs),
        (),
        tuple(outputs),
        tuple(parameter for parameter in parameters if parameter.name in used),
        (),
    )
    return LossGraph(graph, tuple(term.weight for term in terms))


_WINDOW_VARIABLE_DELAY = -(2**40)
"""Marks, as a delay that no text can have, the variable of a window among kept values."""
