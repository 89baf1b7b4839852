"""How deep a recurrent network is, computed from its operator graph.

A path's length is the number of learned matrices on it, frozen ones too, vectors and diagonals not.
Pascanu et al. (2014, arXiv 1312.6026, section 2) name three places where depth can be; Zhang et al.
(2016, arXiv 1602.08210) measure what a path over time meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heappop, heappush

from rnnc.operators.graph.operator_graph import Node, OperatorGraph

from .cycle_ratio import CycleEdge, extreme_cycle_ratio, relax_edges


@dataclass(frozen=True, slots=True)
class Depth:
    """The measures of one model; an infinite `skip_coefficient` is None.

    A measure without any path to measure is 0.
    """

    input_to_hidden: int
    hidden_to_hidden: int
    hidden_to_output: int
    recurrent_depth: Fraction
    feedforward_depth: Fraction
    skip_coefficient: Fraction | None


def measure_depth(graph: OperatorGraph) -> Depth:
    """All measures of a graph."""
    lengths = _node_lengths(graph)
    order = _topological_order(graph)
    cycles = [_cycle_edges(graph, lengths, component) for component in graph.components]
    cycles = [edges for edges in cycles if edges]
    most = [extreme_cycle_ratio(edges, sign=1) for edges in cycles]
    least = [extreme_cycle_ratio(edges, sign=-1) for edges in cycles]
    recurrent = max(most, default=Fraction(0))
    smallest = min(least, default=None)
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
    """For each node 1 if it is a product with a matrix parameter, else 0."""
    return [int(_is_product(graph, node)) for node in graph.nodes]


def _is_product(graph: OperatorGraph, node: Node) -> bool:
    if node.operation not in {"matmul", "lookup"}:
        return False
    weight = graph.nodes[node.operands[0].node]
    return (
        weight.operation == "parameter"
        and graph.parameters_by_name[str(weight.attributes[0])].is_matrix
    )


def _topological_order(graph: OperatorGraph) -> list[int]:
    """All nodes, each after its operands of the same step."""
    waiting = [sum(o.delay == 0 for o in node.operands) for node in graph.nodes]
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for source, target, delay in graph.edges():
        if delay == 0:
            readers[source].append(target)
    ready = [number for number, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        number = ready.pop()
        order.append(number)
        for reader in readers[number]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    return order


def _input_to_hidden(graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int]) -> int:
    inputs = {variable.node for variable in graph.inputs}
    best: dict[int, int] = dict.fromkeys(inputs, 0)
    for number in order:
        reached = [
            best[o.node]
            for o in graph.nodes[number].operands
            if o.node in best and (o.delay == 0 or o.node in inputs)
        ]
        if reached:
            best[number] = max(reached) + lengths[number]
    return max((best.get(state.node, 0) for state in graph.states), default=0)


def alap_order(graph: OperatorGraph, order: Sequence[int]) -> list[int]:
    """All nodes, each after its operands of the same step, and as close to its readers as can be.

    order: any order in which operands come first.
    """
    level = [0] * len(graph.nodes)
    readers = [0] * len(graph.nodes)
    for number in order:
        for operand in graph.nodes[number].operands:
            if not operand.delay:
                level[number] = max(level[number], level[operand.node] + 1)
                readers[operand.node] += 1
    # From the end: among what nothing waits for, that with the least before it comes first.
    ready = [(level[n], -n) for n, count in enumerate(readers) if not count]
    heapify(ready)
    found: list[int] = []
    while ready:
        number = -heappop(ready)[1]
        found.append(number)
        for operand in graph.nodes[number].operands:
            if not operand.delay:
                readers[operand.node] -= 1
                if not readers[operand.node]:
                    heappush(ready, (level[operand.node], -operand.node))
    return found[::-1]


def recurrent_paths(
    graph: OperatorGraph, order: Sequence[int]
) -> Iterator[tuple[int, frozenset[int], list[int]]]:
    """Each state on a cycle, the nodes of its component, and those between its readers and itself.

    The last in an order in which operands come first: no path from the state's last value to its
    new one meets another node, and where states are stacked these are its own layer's.
    """
    states = graph.states_by_node
    ordered = alap_order(graph, order)
    place = {number: index for index, number in enumerate(ordered)}
    for component in graph.components:
        members = frozenset(component)
        first: dict[int, int] = {}
        inside = sorted(component, key=place.__getitem__)
        at = {number: index for index, number in enumerate(inside)}
        for number in reversed(inside):
            for operand in graph.nodes[number].operands:
                if operand.delay and operand.node in members:
                    first[operand.node] = at[number]
        for start in component:
            if start in states and start in graph.recurrent_nodes and start in first:
                yield start, members, inside[first[start] : at[start] + 1]


def _hidden_to_hidden(graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int]) -> int:
    deepest = 0
    for start, members, between in recurrent_paths(graph, order):
        best: dict[int, int] = {}
        for number in between:
            reached = [
                0 if o.delay else best[o.node]
                for o in graph.nodes[number].operands
                if o.node in members
                and ((o.delay and o.node == start) or (not o.delay and o.node in best))
            ]
            if reached:
                best[number] = max(reached) + lengths[number]
        deepest = max(deepest, best.get(start, 0))
    return deepest


def _hidden_to_output(graph: OperatorGraph, lengths: Sequence[int], order: Sequence[int]) -> int:
    states = graph.states_by_node
    best: dict[int, int] = dict.fromkeys(states, 0)
    for number in order:
        if number in states:
            continue
        reached = [
            best[o.node]
            for o in graph.nodes[number].operands
            if o.node in best and (o.delay == 0 or o.node in states)
        ]
        if reached:
            best[number] = max(reached) + lengths[number]
    return max((best.get(output.value.node, 0) for output in graph.outputs), default=0)


def _cycle_edges(
    graph: OperatorGraph, lengths: Sequence[int], component: Iterable[int]
) -> list[CycleEdge]:
    """The edges inside a component, those within a step in an order that follows them."""
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
    """The longest path from an input to an output, each delay on it costing `recurrent`."""
    p, q = recurrent.numerator, recurrent.denominator
    place = {number: index for index, number in enumerate(order)}
    best: dict[int, int] = {variable.node: 0 for variable in graph.inputs}
    for component in graph.components:
        edges: list[CycleEdge] = []
        worth: list[int] = []
        leaving: dict[int, list[int]] = {}
        inside = set(component)
        for number in component:
            for operand in graph.nodes[number].operands:
                value = lengths[number] * q - abs(operand.delay) * p
                if operand.node in inside:
                    leaving.setdefault(operand.node, []).append(len(edges))
                    edges.append((operand.node, number, lengths[number], abs(operand.delay)))
                    worth.append(value)
                elif operand.node in best:
                    reached = best[operand.node] + value
                    best[number] = max(reached, best.get(number, reached))
        if edges:
            begun = [number for number in component if number in best]
            for _ in relax_edges(edges, worth, leaving, place, best, {}, begun):
                continue
    ends = [
        best[output.value.node] - abs(output.value.delay) * p
        for output in graph.outputs
        if output.value.node in best
    ]
    return Fraction(max(ends, default=0), q)
