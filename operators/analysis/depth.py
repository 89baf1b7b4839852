"""Depths of a recurrent network, measured on its operator graph.

A path's length is the number of matrix parameters on it, frozen ones too, vectors and diagonals
not. Pascanu et al. (2014, arXiv 1312.6026, section 2) name three places of depth; Zhang et al.
(2016, arXiv 1602.08210) measure paths over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heappop, heappush

from rnnc.operators.graph.operator_graph import Node, OperatorGraph
from rnnc.operators.graph.topological_order import topological_order

from .cycle_ratio import CycleEdge, extreme_cycle_ratio, relax_edges


@dataclass(frozen=True, slots=True)
class Depth:
    """Measures of one model; None stands for an infinite `skip_coefficient`.

    A measure without any path is 0.
    """

    input_to_hidden: int
    hidden_to_hidden: int
    hidden_to_output: int
    recurrent_depth: Fraction
    feedforward_depth: Fraction
    skip_coefficient: Fraction | None


def measure_depth(graph: OperatorGraph) -> Depth:
    """Return all measures of a graph."""
    lengths = _node_lengths(graph)
    order = topological_order(graph)
    cycles = [_cycle_edges(graph, lengths, component) for component in graph.components]
    cycles = [edges for edges in cycles if edges]
    largest_ratios = [extreme_cycle_ratio(edges, sign=1) for edges in cycles]
    smallest_ratios = [extreme_cycle_ratio(edges, sign=-1) for edges in cycles]
    recurrent = max(largest_ratios, default=Fraction(0))
    smallest = min(smallest_ratios, default=None)
    skip: Fraction | None = Fraction(0)
    if smallest is not None:
        skip = 1 / smallest if smallest else None
    return Depth(
        _input_to_hidden(graph, lengths, order),
        _hidden_to_hidden(graph, lengths, order),
        _hidden_to_output(graph, lengths, order),
        recurrent,
        _feedforward(graph, lengths, order, recurrent),
        skip,
    )


def _node_lengths(graph: OperatorGraph) -> list[int]:
    """Return 1 for each product with a matrix parameter, else 0, by node."""
    return [int(_is_product(graph, node)) for node in graph.nodes]


def _is_product(graph: OperatorGraph, node: Node) -> bool:
    if node.operation not in {"matmul", "lookup"}:
        return False
    weight = graph.nodes[node.operands[0].node]
    return (
        weight.operation == "parameter"
        and graph.parameters_by_name[str(weight.attributes[0])].is_matrix
    )


def _input_to_hidden(graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int]) -> int:
    inputs = {variable.node for variable in graph.inputs}
    longest: dict[int, int] = dict.fromkeys(inputs, 0)
    for number in order:
        lengths_before = [
            longest[o.node]
            for o in graph.nodes[number].operands
            if o.node in longest and (o.delay == 0 or o.node in inputs)
        ]
        if lengths_before:
            longest[number] = max(lengths_before) + lengths[number]
    return max((longest.get(state.node, 0) for state in graph.states), default=0)


def alap_order(graph: OperatorGraph, order: Sequence[int]) -> list[int]:
    """Return all nodes, each after its operands of the same step and as late as possible (ALAP).

    order: any topological order.
    """
    level = [0] * len(graph.nodes)
    reader_counts = [0] * len(graph.nodes)
    for number in order:
        for operand in graph.nodes[number].operands:
            if not operand.delay:
                level[number] = max(level[number], level[operand.node] + 1)
                reader_counts[operand.node] += 1
    # Built from the end: of the nodes without unplaced readers, the one of lowest level is last.
    ready = [(level[n], -n) for n, count in enumerate(reader_counts) if not count]
    heapify(ready)
    reversed_order: list[int] = []
    while ready:
        number = -heappop(ready)[1]
        reversed_order.append(number)
        for operand in graph.nodes[number].operands:
            if not operand.delay:
                reader_counts[operand.node] -= 1
                if not reader_counts[operand.node]:
                    heappush(ready, (level[operand.node], -operand.node))
    return reversed_order[::-1]


def recurrent_paths(
    graph: OperatorGraph, order: Sequence[int]
) -> Iterator[tuple[int, frozenset[int], list[int]]]:
    """Yield each state on a cycle, its component, and the nodes from its readers to itself.

    The nodes are a part of the ALAP order: no path from the state's last value to its new one meets
    another node, and in stacked layers they are those of the state's own layer.
    """
    states = graph.states_by_node
    ordered = alap_order(graph, order)
    position = {number: index for index, number in enumerate(ordered)}
    for component in graph.components:
        members = frozenset(component)
        first: dict[int, int] = {}
        ordered_component = sorted(component, key=position.__getitem__)
        local_position = {number: index for index, number in enumerate(ordered_component)}
        for number in reversed(ordered_component):
            for operand in graph.nodes[number].operands:
                if operand.delay and operand.node in members:
                    first[operand.node] = local_position[number]
        for start in component:
            if start in states and start in graph.recurrent_nodes and start in first:
                yield start, members, ordered_component[first[start] : local_position[start] + 1]


def _hidden_to_hidden(graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int]) -> int:
    deepest = 0
    for start, members, between in recurrent_paths(graph, order):
        longest: dict[int, int] = {}
        for number in between:
            lengths_before = [
                0 if o.delay else longest[o.node]
                for o in graph.nodes[number].operands
                if o.node in members
                and ((o.delay and o.node == start) or (not o.delay and o.node in longest))
            ]
            if lengths_before:
                longest[number] = max(lengths_before) + lengths[number]
        deepest = max(deepest, longest.get(start, 0))
    return deepest


def _hidden_to_output(graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int]) -> int:
    states = graph.states_by_node
    longest: dict[int, int] = dict.fromkeys(states, 0)
    for number in order:
        if number in states:
            continue
        lengths_before = [
            longest[o.node]
            for o in graph.nodes[number].operands
            if o.node in longest and (o.delay == 0 or o.node in states)
        ]
        if lengths_before:
            longest[number] = max(lengths_before) + lengths[number]
    return max((longest.get(output.value.node, 0) for output in graph.outputs), default=0)


def _cycle_edges(
    graph: OperatorGraph, lengths: Sequence[int], component: Iterable[int]
) -> list[CycleEdge]:
    """Return the edges inside a component."""
    members = {number for number in component if number in graph.recurrent_nodes}
    return [
        (operand.node, number, lengths[number], abs(operand.delay))
        for number in members
        for operand in graph.nodes[number].operands
        if operand.node in members
    ]


def _feedforward(
    graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int], recurrent: Fraction
) -> Fraction:
    """Return the longest path from an input to an output; a delay costs `recurrent`."""
    p, q = recurrent.numerator, recurrent.denominator
    position = {number: index for index, number in enumerate(order)}
    distances: dict[int, int] = {variable.node: 0 for variable in graph.inputs}
    for component in graph.components:
        edges: list[CycleEdge] = []
        weights: list[int] = []
        outgoing: dict[int, list[int]] = {}
        members = set(component)
        for number in component:
            for operand in graph.nodes[number].operands:
                value = lengths[number] * q - abs(operand.delay) * p
                if operand.node in members:
                    outgoing.setdefault(operand.node, []).append(len(edges))
                    edges.append((operand.node, number, lengths[number], abs(operand.delay)))
                    weights.append(value)
                elif operand.node in distances:
                    distance = distances[operand.node] + value
                    distances[number] = max(distance, distances.get(number, distance))
        if edges:
            start_nodes = [number for number in component if number in distances]
            for _ in relax_edges(edges, weights, outgoing, position, distances, {}, start_nodes):
                continue
    ends = [
        distances[output.value.node] - abs(output.value.delay) * p
        for output in graph.outputs
        if output.value.node in distances
    ]
    return Fraction(max(ends, default=0), q)
