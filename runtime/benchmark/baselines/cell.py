"""A graph as the plain PyTorch that its user would write: one step as a function, and the rest.

The step is made as a `torch.fx` graph module: its `code` can be read, and `torch.compile` takes it
as it takes a function written by hand. What no state's next value depends on (the output layer,
say) is not part of the step: it is computed for all steps at once, after the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from rnnc.operators.graph.operator_graph import Node, Operand, OperatorGraph
from rnnc.runtime.benchmark.workload.candidate import Unavailable

from .backends import RANDOM_OPERATIONS
from .cell_ops import torch_call

DelayedNode = tuple[int, int]
"""A node, and how many steps ago."""


@dataclass(frozen=True)
class Cell:
    """One step of a graph, and what comes after the last one.

    step: (parameters, reads) to the values of `step_results`, all (B, n).
    output_module: (parameters, series of `output_operands`) to the outputs, all (T, B, n).
    parameters, output_parameters: the names of the leading arguments of `step` and of `output_module`.
    step_operands: the other arguments of `step`: inputs, and states of earlier steps.
    step_results: the nodes whose values `step` returns: first all states, then what `output_module` needs.
    output_operands: the nodes whose series `output_module` takes: inputs, states, values of the steps.
    """

    graph: OperatorGraph
    step: fx.GraphModule
    output_module: fx.GraphModule
    parameters: tuple[str, ...]
    output_parameters: tuple[str, ...]
    step_operands: tuple[DelayedNode, ...]
    step_results: tuple[int, ...]
    output_operands: tuple[int, ...]

    def run(
        self,
        step: Callable[..., Sequence[Tensor]],
        weights: Mapping[str, Tensor],
        inputs: Mapping[int, Tensor],
        initial: Mapping[int, Tensor],
    ) -> list[Tensor]:
        """All steps in a loop in Python; `step` is `self.step`, compiled or not.

        Args:
            step: what computes a step.
            weights: the parameters by name.
            inputs: (T, B, …) by node.
            initial: (B, n) by node: each state before the first step.

        Returns:
            The outputs, (T, B, m), or (B, m) of the last step.
        """
        parameters = [weights[name] for name in self.parameters]
        past = {node: [value] * self._max_delay(node) for node, value in initial.items()}
        series: dict[int, list[Tensor]] = {node: [] for node in self.step_results}
        for node, whole in inputs.items():
            reach = self._max_delay(node)
            nothing = whole.new_full(whole.shape[1:], 0 if whole.is_floating_point() else -1)
            past[node] = [nothing] * reach + list(whole.unbind(0))
        for t in range(len(next(iter(inputs.values())))):
            # What is known reaches `reach` steps back before the first one.
            reads = [
                past[node][t + self._max_delay(node) - delay] for node, delay in self.step_operands
            ]
            values = step(*parameters, *reads)
            for node, value in zip(self.step_results, values, strict=True):
                series[node].append(value)
                if node in initial:
                    past[node].append(value)
        given = [
            inputs[node] if node in inputs else torch.stack(series[node])
            for node in self.output_operands
        ]
        outputs = self.output_module(*(weights[name] for name in self.output_parameters), *given)
        ends = [output.at_end for output in self.graph.outputs]
        return [y[-1] if end else y for y, end in zip(outputs, ends, strict=True)]

    def _max_delay(self, node: int) -> int:
        return max((delay for read, delay in self.step_operands if read == node), default=0)


def extract_cell(graph: OperatorGraph) -> Cell:
    """The cell of a graph.

    Raises:
        Unavailable: for what a cell in a loop cannot do: states that run backward, windows, masks.
    """
    _require_cell(graph)
    states = [state.node for state in graph.states]
    results = [output.value.node for output in graph.outputs]
    sources = {v.node for v in graph.inputs}
    sources |= {n.id for n in graph.nodes if n.operation in {"parameter", "constant"}}
    inside = _transitive_operands(graph, states)
    outside = _transitive_operands(graph, results, available=inside | sources) - inside - sources
    if any(operand.delay for n in outside for operand in graph.nodes[n].operands):
        # What looks back in time is simplest within the loop.
        inside, outside = inside | outside, set()
    wanted = {operand.node for n in outside for operand in graph.nodes[n].operands} | set(results)
    made = (*states, *sorted((wanted & inside) - sources - set(states)))
    given = tuple(sorted(wanted & ({v.node for v in graph.inputs} | set(made))))
    names, late = _parameter_names(graph, inside), _parameter_names(graph, outside | set(results))
    reads = _step_operands(graph, inside)
    step = _build_module(graph, names, reads, made)
    after = _build_module(graph, late, tuple((n, 0) for n in given), results)
    return Cell(graph, step, after, names, late, reads, made, given)


def _require_cell(graph: OperatorGraph) -> None:
    operations = {node.operation for node in graph.nodes}
    if graph.backward_nodes:
        raise Unavailable("a state runs backward in time: there is no step")
    if graph.has_windows:
        raise Unavailable("it looks through a window of time")
    if operations & RANDOM_OPERATIONS or any(p.weightdrop for p in graph.parameters):
        raise Unavailable("it draws masks in training")
    if any(state.initial_value.kind == "uniform" for state in graph.states):
        raise Unavailable("a state's initial value is drawn")


def _transitive_operands(
    graph: OperatorGraph, roots: Sequence[int], *, available: Set[int] = frozenset()
) -> set[int]:
    """What some nodes need, of this step or another, up to nodes that are there already."""
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        if number not in found and number not in available:
            found.add(number)
            waiting += [operand.node for operand in graph.nodes[number].operands]
    return found


def _parameter_names(graph: OperatorGraph, readers: Set[int]) -> tuple[str, ...]:
    read = {operand.node for number in readers for operand in graph.nodes[number].operands}
    found = [graph.nodes[number] for number in sorted(read | readers)]
    names = (str(node.attributes[0]) for node in found if node.operation == "parameter")
    return tuple(dict.fromkeys(names))


def _step_operands(graph: OperatorGraph, inside: set[int]) -> tuple[DelayedNode, ...]:
    found: set[DelayedNode] = set()
    inputs = {variable.node for variable in graph.inputs}
    for number in inside:
        for operand in graph.nodes[number].operands:
            if operand.delay or operand.node in inputs:
                found.add((operand.node, operand.delay))
    return tuple(sorted(found))


def _build_module(
    graph: OperatorGraph,
    names: Sequence[str],
    operands: Sequence[DelayedNode],
    results: Sequence[int],
) -> fx.GraphModule:
    """A function of (parameters, reads) that computes some nodes."""
    written = fx.Graph()
    known: dict[DelayedNode, fx.Node] = {}
    given = {name: written.placeholder(name.replace(".", "_")) for name in names}
    for node in graph.nodes:
        if node.operation == "parameter" and node.attributes[0] in given:
            known[node.id, 0] = given[str(node.attributes[0])]
    for number, delay in operands:
        name = f"v{number}" + (f"_before_{delay}" if delay else "")
        known[number, delay] = written.placeholder(name)

    def value(operand: Operand) -> fx.Node:
        read = (operand.node, operand.delay)
        if read not in known:
            known[read] = _emit_call(written, graph.nodes[operand.node], value)
        return known[read]

    written.output(tuple(value(Operand(number)) for number in results))
    return fx.GraphModule({}, written)


def _emit_call(written: fx.Graph, node: Node, value: Callable[[Operand], fx.Node]) -> fx.Node:
    operands = [value(operand) for operand in node.operands]
    if node.operation == "state":
        return operands[0]
    function, constants, named = torch_call(node)
    return written.call_function(function, (*operands, *constants), named)
