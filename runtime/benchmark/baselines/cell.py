"""Translate a graph to plain PyTorch: one step as a function, outputs after the loop.

The step is a `torch.fx` graph module: its `code` is readable, and `torch.compile` treats it like a
function written by hand. Nodes that no state depends on (the output layer, say) are computed for
all steps at once, after the loop.
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
"""A node and a delay in steps."""


@dataclass(frozen=True)
class Cell:
    """One step of a graph as a module, and the module for its outputs after the loop.

    step: (parameters, step operands) to the values of `step_results`, all (B, n).
    output_module: (output parameters, series of `output_operands`) to the outputs, all (T, B, n).
    parameters, output_parameters: names of the leading arguments of `step` and `output_module`.
    step_operands: the other arguments of `step`: inputs, and states of earlier steps.
    step_results: nodes that `step` computes: first all states, then operands of `output_module`.
    output_operands: nodes whose series `output_module` takes: inputs, states, values of the steps.
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
        """Run all steps in a Python loop.

        Args:
            step: `self.step`, compiled or not.
            weights: the parameters by name.
            inputs: (T, B, …) by node.
            initial: (B, n) by node: each state before the first step.

        Returns:
            The outputs, (T, B, m), or (B, m) of the last step.
        """
        parameters = [weights[name] for name in self.parameters]
        history = {node: [value] * self._max_delay(node) for node, value in initial.items()}
        series: dict[int, list[Tensor]] = {node: [] for node in self.step_results}
        for node, series_tensor in inputs.items():
            max_delay = self._max_delay(node)
            padding = series_tensor.new_full(
                series_tensor.shape[1:], 0 if series_tensor.is_floating_point() else -1
            )
            history[node] = [padding] * max_delay + list(series_tensor.unbind(0))
        for t in range(len(next(iter(inputs.values())))):
            # The history starts `max_delay` steps before the first step.
            reads = [
                history[node][t + self._max_delay(node) - delay]
                for node, delay in self.step_operands
            ]
            values = step(*parameters, *reads)
            for node, value in zip(self.step_results, values, strict=True):
                series[node].append(value)
                if node in initial:
                    history[node].append(value)
        operands = [
            inputs[node] if node in inputs else torch.stack(series[node])
            for node in self.output_operands
        ]
        outputs = self.output_module(*(weights[name] for name in self.output_parameters), *operands)
        at_end = [output.at_end for output in self.graph.outputs]
        return [y[-1] if end else y for y, end in zip(outputs, at_end, strict=True)]

    def _max_delay(self, node: int) -> int:
        return max((delay for read, delay in self.step_operands if read == node), default=0)


def extract_cell(graph: OperatorGraph) -> Cell:
    """Build the cell of a graph.

    Raises:
        Unavailable: for states that run backward, windows and masks, which have no such step.
    """
    _require_cell(graph)
    states = [state.node for state in graph.states]
    results = [output.value.node for output in graph.outputs]
    sources = {v.node for v in graph.inputs}
    sources |= {n.id for n in graph.nodes if n.operation in {"parameter", "constant"}}
    step_nodes = _transitive_operands(graph, states)
    output_nodes = (
        _transitive_operands(graph, results, available=step_nodes | sources) - step_nodes - sources
    )
    if any(operand.delay for n in output_nodes for operand in graph.nodes[n].operands):
        # Delayed reads are simplest within the loop.
        step_nodes, output_nodes = step_nodes | output_nodes, set()
    needed = {operand.node for n in output_nodes for operand in graph.nodes[n].operands} | set(
        results
    )
    step_results = (*states, *sorted((needed & step_nodes) - sources - set(states)))
    output_operands = tuple(sorted(needed & ({v.node for v in graph.inputs} | set(step_results))))
    names, output_names = (
        _parameter_names(graph, step_nodes),
        _parameter_names(graph, output_nodes | set(results)),
    )
    operands = _step_operands(graph, step_nodes)
    step = _build_module(graph, names, operands, step_results)
    output_module = _build_module(
        graph, output_names, tuple((n, 0) for n in output_operands), results
    )
    return Cell(
        graph, step, output_module, names, output_names, operands, step_results, output_operands
    )


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
    """Return the nodes that `roots` depend on, at any step, down to available nodes."""
    needed: set[int] = set()
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        if number not in needed and number not in available:
            needed.add(number)
            waiting += [operand.node for operand in graph.nodes[number].operands]
    return needed


def _parameter_names(graph: OperatorGraph, readers: Set[int]) -> tuple[str, ...]:
    operands = {operand.node for number in readers for operand in graph.nodes[number].operands}
    nodes = [graph.nodes[number] for number in sorted(operands | readers)]
    names = (str(node.attributes[0]) for node in nodes if node.operation == "parameter")
    return tuple(dict.fromkeys(names))


def _step_operands(graph: OperatorGraph, step_nodes: set[int]) -> tuple[DelayedNode, ...]:
    operands: set[DelayedNode] = set()
    inputs = {variable.node for variable in graph.inputs}
    for number in step_nodes:
        for operand in graph.nodes[number].operands:
            if operand.delay or operand.node in inputs:
                operands.add((operand.node, operand.delay))
    return tuple(sorted(operands))


def _build_module(
    graph: OperatorGraph,
    names: Sequence[str],
    operands: Sequence[DelayedNode],
    results: Sequence[int],
) -> fx.GraphModule:
    """Build a module from (parameters, operands) to the values of some nodes."""
    fx_graph = fx.Graph()
    values: dict[DelayedNode, fx.Node] = {}
    parameters = {name: fx_graph.placeholder(name.replace(".", "_")) for name in names}
    for node in graph.nodes:
        if node.operation == "parameter" and node.attributes[0] in parameters:
            values[node.id, 0] = parameters[str(node.attributes[0])]
    for number, delay in operands:
        name = f"v{number}" + (f"_before_{delay}" if delay else "")
        values[number, delay] = fx_graph.placeholder(name)

    def value(operand: Operand) -> fx.Node:
        read = (operand.node, operand.delay)
        if read not in values:
            values[read] = _emit_call(fx_graph, graph.nodes[operand.node], value)
        return values[read]

    fx_graph.output(tuple(value(Operand(number)) for number in results))
    return fx.GraphModule({}, fx_graph)


def _emit_call(fx_graph: fx.Graph, node: Node, value: Callable[[Operand], fx.Node]) -> fx.Node:
    operands = [value(operand) for operand in node.operands]
    if node.operation == "state":
        return operands[0]
    function, constants, named = torch_call(node)
    return fx_graph.call_function(function, (*operands, *constants), named)
