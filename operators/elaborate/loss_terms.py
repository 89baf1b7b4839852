"""Elaborate `loss` lines to a separate graph, evaluated once the targets are known.

Partition: nodes that no target reaches are computed with the model and become inputs of the
loss graph; the nodes behind a target are its nodes (docs/decisions/0007).
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
    """Term of a loss during the elaboration of its model."""

    operand: Operand
    weight: float
    text: str
    span: Span


def evaluate_loss_terms(
    statements: Iterable[syntax.Statement], evaluator: Evaluator
) -> list[LossTerm]:
    """Evaluate the `loss` lines of a model, where `x'` is the next value of an input."""
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
    """Nodes that only the `loss` terms need, as ids in the graph of model and terms.

    `inputs` are the values that the model computes for them; `target_nodes` is by variable.
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
    """Partition nodes by their dependence on a target; `nodes` come in topological order.

    Terms without inputs take an output of the model as one, whose dtype they are computed in.
    """
    dependent = set(target_nodes.values()) & nodes.keys()
    changed = True
    while changed:
        readers = {
            n for n, node in nodes.items() if any(o.node in dependent for o in node.operands)
        }
        changed = not readers <= dependent
        dependent |= readers
    inputs: dict[Operand, None] = {}
    windows: set[int] = set()
    operands = [o for n in sorted(dependent) for o in nodes[n].operands] + [
        term.operand for term in terms
    ]
    for operand in operands:
        node = nodes[operand.node]
        if operand.node in dependent or node.operation in {"parameter", "constant"}:
            continue
        if node.operation == "window":
            windows.add(operand.node)
            variable = nodes[node.operands[0].node]
            if variable.operation == "state":
                inputs[Operand(variable.id)] = None
            continue
        inputs[operand] = None
    if terms and not inputs:
        inputs[outputs[0]] = None
    return LossPartition(frozenset(dependent), tuple(inputs), target_nodes, frozenset(windows))


def build_loss_graph(
    name: str,
    nodes: Mapping[int, Node],
    partition: LossPartition,
    terms: Sequence[LossTerm],
    variables: Mapping[str, Variable],
    parameters: Sequence[Parameter],
) -> LossGraph:
    """Build the graph of the loss terms, with the inputs that `LossGraph` lists."""
    loss_nodes: list[Node] = []
    new_ids: dict[Operand, int] = {}
    inputs: list[Input] = []

    def add(node: Node, operands: tuple[Operand, ...]) -> int:
        loss_nodes.append(
            Node(
                len(loss_nodes), node.operation, operands, node.size, node.attributes, -1, node.span
            )
        )
        return len(loss_nodes) - 1

    def add_input(name: str, type_: Type, old: Operand, max_delay: int) -> None:
        span = nodes[old.node].span
        new_ids[old] = len(loss_nodes)
        loss_nodes.append(Node(len(loss_nodes), "input", (), type_.size, (name,), -1, span))
        inputs.append(Input(name, type_, new_ids[old], max_delay))

    for number, operand in enumerate(partition.inputs):
        add_input(f"kept {number}", Type("real", nodes[operand.node].size), operand, 0)
    for variable, node in partition.target_nodes.items():
        if node in nodes:
            add_input(f"{variable}'", variables[variable].type, Operand(node), 0)
    ends = [
        operand for number in sorted(partition.window_nodes) for operand in nodes[number].operands
    ]
    for source in dict.fromkeys(operand.node for operand in ends):
        variable_name = str(nodes[source].attributes[0])
        steps_back = max(0, *(operand.delay for operand in ends if operand.node == source))
        add_input(
            variable_name,
            variables[variable_name].type,
            Operand(source, _WINDOW_VARIABLE_DELAY),
            steps_back,
        )
    for number in sorted(partition.window_nodes):
        window = nodes[number]
        marked_variable = Operand(window.operands[0].node, _WINDOW_VARIABLE_DELAY)
        window_operands = tuple(
            Operand(new_ids[marked_variable], operand.delay) for operand in window.operands
        )
        new_ids[Operand(number)] = add(window, window_operands)

    def copy_node(operand: Operand) -> Operand:
        if operand not in new_ids:
            node = nodes[operand.node]
            new_ids[operand] = add(node, tuple(copy_node(o) for o in node.operands))
        return Operand(new_ids[operand])

    for number in sorted(partition.nodes):
        copy_node(Operand(number))
    # A line in a `for` gives several terms, and backends identify outputs by name.
    counts: Counter[str] = Counter()
    outputs: list[Output] = []
    for term in terms:
        counts[term.text] += 1
        suffix = f" #{counts[term.text]}" if counts[term.text] > 1 else ""
        value = copy_node(term.operand)
        outputs.append(Output(f"{term.text}{suffix}", Type("real", 1), value, False, None))
    parameter_names = {
        str(node.attributes[0]) for node in loss_nodes if node.operation == "parameter"
    }
    graph = OperatorGraph(
        f"{name} loss",
        tuple(loss_nodes),
        tuple(inputs),
        (),
        tuple(outputs),
        tuple(parameter for parameter in parameters if parameter.name in parameter_names),
        (),
    )
    return LossGraph(graph, tuple(term.weight for term in terms))


_WINDOW_VARIABLE_DELAY = -(2**40)
"""Delay that no spec can have: it marks a window's variable among the inputs of the loss graph."""
