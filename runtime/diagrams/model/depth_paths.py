"""Find the paths and cycles behind the depth measures, as edges of the operator graph.

Lengths are counted as `operators.depth` counts them: one for each product with a learned matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from rnnc.operators.analysis.cycle_ratio import relax_edges
from rnnc.operators.analysis.depth import measure_depth, recurrent_paths
from rnnc.operators.graph.operator_graph import Node, OperatorGraph

from .diagram import Diagram

GraphEdge = tuple[int, int, int]
EdgeSet = frozenset[GraphEdge]


def highlight_measure(diagram: Diagram, graph: OperatorGraph, measure: str) -> Diagram:
    """Highlight the edges of one of `MEASURES` in a diagram."""
    edge_set = MEASURES[measure](graph)
    ends = {number for flow in edge_set for number in flow[:2]}
    edges = tuple(
        replace(e, highlighted=any(f in edge_set for f in e.members)) for e in diagram.edges
    )
    marked_keys = {key for edge in edges if edge.highlighted for key in (edge.source, edge.target)}
    boxes = tuple(
        replace(
            box,
            highlighted=box.key in marked_keys
            or (box.role == "operator" and any(number in ends for number in box.members)),
        )
        for box in diagram.boxes
    )
    return replace(diagram, boxes=boxes, edges=edges)


def recurrent_edges(graph: OperatorGraph) -> EdgeSet:
    """Return every edge on a cycle."""
    component = {n: i for i, members in enumerate(graph.components) for n in members}
    return frozenset(
        (source, target, delay)
        for source, target, delay in graph.edges()
        if target in graph.recurrent_nodes and component[source] == component[target]
    )


def recurrent_depth(graph: OperatorGraph) -> EdgeSet:
    """Return a cycle with the most matrices per step."""
    return _critical_cycle(graph, measure_depth(graph).recurrent_depth, sign=1)


def skip_coefficient(graph: OperatorGraph) -> EdgeSet:
    """Return a cycle with the fewest matrices per step."""
    skip = measure_depth(graph).skip_coefficient
    return _critical_cycle(graph, 1 / skip if skip else Fraction(0), sign=-1)


def input_to_hidden(graph: OperatorGraph) -> EdgeSet:
    """Return a longest path within a step from an input to a state's new value."""
    inputs = {variable.node for variable in graph.inputs}
    return _longest_path(graph, inputs, {state.node for state in graph.states}, inputs)


def hidden_to_hidden(graph: OperatorGraph) -> EdgeSet:
    """Return a longest path from a state to its own next value."""
    best: tuple[int, int, EdgeSet] = (-1, 0, frozenset())
    order = [node.id for node in _topological_order(graph)]
    state_order = {state.node: index for index, state in enumerate(graph.states)}
    for state, _, between in recurrent_paths(graph, order):
        path = _longest_recurrent_path(graph, state, between)
        length = sum(_is_product(graph, graph.nodes[target]) for _, target, _ in path)
        if path and (length, -state_order[state]) > best[:2]:
            best = (length, -state_order[state], path)
    return best[2]


def hidden_to_output(graph: OperatorGraph) -> EdgeSet:
    """Return a longest path from a state's new value to an output, through no other state."""
    states = {state.node for state in graph.states}
    outputs = {output.value.node for output in graph.outputs}
    path = set(_longest_path(graph, states, outputs, states, blocked=states))
    ends = {target for _, target, _ in path} - {source for source, _, _ in path}
    for index, output in enumerate(graph.outputs):
        if output.value.node in ends:
            path.add((output.value.node, -1 - index, output.value.delay))
    return frozenset(path)


def feedforward_depth(graph: OperatorGraph) -> EdgeSet:
    """Return a longest path from input to output; a delay costs the recurrent depth."""
    ratio = measure_depth(graph).recurrent_depth
    order = [node.id for node in _topological_order(graph)]
    edges = [(o.node, number, o.delay) for number in order for o in graph.nodes[number].operands]
    distance = {i.node: 0 for i in graph.inputs}
    last_edge = _relax_edges(graph, edges, ratio, 1, order, distance)
    ends = [
        (distance[o.value.node] - abs(o.value.delay) * ratio.numerator, index)
        for index, o in enumerate(graph.outputs)
        if o.value.node in distance
    ]
    if not ends:
        return frozenset()
    index = max(ends, key=lambda end: end[0])[1]
    value = graph.outputs[index].value
    path: set[GraphEdge] = {(value.node, -1 - index, value.delay)}
    number = value.node
    while number in last_edge:
        step = edges[last_edge[number]]
        path.add(step)
        number = step[0]
    return frozenset(path)


def _relax_edges(
    graph: OperatorGraph,
    graph_edges: Sequence[GraphEdge],
    ratio: Fraction,
    sign: int,
    order: Iterable[int],
    best: dict[int, int],
) -> dict[int, int]:
    """Relax edges until no path improves; return the last edge of each node's best path.

    best: values of the start nodes; updated to those of all reached nodes. No cycle may have a
    positive weight.
    """
    edges = [(s, t, int(_is_product(graph, graph.nodes[t])), abs(d)) for s, t, d in graph_edges]
    outgoing: dict[int, list[int]] = {}
    for index, edge in enumerate(graph_edges):
        outgoing.setdefault(edge[0], []).append(index)
    weights = [sign * _edge_weight(graph, edge, ratio) for edge in graph_edges]
    position = {number: index for index, number in enumerate(order)}
    last_edge: dict[int, int] = {}
    for _ in relax_edges(edges, weights, outgoing, position, best, last_edge, list(best)):
        continue
    return last_edge


MEASURES: Final[Mapping[str, Callable[[OperatorGraph], EdgeSet]]] = {
    "recurrent-depth": recurrent_depth,
    "skip-coefficient": skip_coefficient,
    "feedforward-depth": feedforward_depth,
    "input-to-hidden": input_to_hidden,
    "hidden-to-hidden": hidden_to_hidden,
    "hidden-to-output": hidden_to_output,
    "recurrences": recurrent_edges,
}


def _is_product(graph: OperatorGraph, node: Node) -> bool:
    if node.operation not in {"matmul", "lookup"}:
        return False
    weight = graph.nodes[node.operands[0].node]
    name = str(weight.attributes[0]) if weight.operation == "parameter" else ""
    return name in graph.parameters_by_name and graph.parameters_by_name[name].is_matrix


def _topological_order(graph: OperatorGraph) -> list[Node]:
    """Return all nodes, each after its operands of the same step."""
    waiting = [sum(not o.delay for o in node.operands) for node in graph.nodes]
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for source, target, delay in graph.edges():
        if not delay:
            readers[source].append(target)
    ready = [number for number, count in enumerate(waiting) if not count]
    order: list[Node] = []
    while ready:
        number = ready.pop()
        order.append(graph.nodes[number])
        for reader in readers[number]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return order


def _longest_path(
    graph: OperatorGraph,
    starts: Collection[int],
    ends: Collection[int],
    delayed: Collection[int],
    *,
    blocked: Collection[int] = (),
) -> EdgeSet:
    """Return a longest path; only nodes in `delayed` may be read at another step."""
    best: dict[int, tuple[int, GraphEdge | None]] = dict.fromkeys(starts, (0, None))
    for node in _topological_order(graph):
        if node.id in blocked:
            continue
        for operand in node.operands:
            if operand.node in best and (not operand.delay or operand.node in delayed):
                length = best[operand.node][0] + _is_product(graph, node)
                if length > best.get(node.id, (-1, None))[0]:
                    best[node.id] = (length, (operand.node, node.id, operand.delay))
    reached_ends = [number for number in sorted(ends) if number in best]
    if not reached_ends:
        return frozenset()
    return _trace_back(best, max(reached_ends, key=lambda number: best[number][0]))


def _longest_recurrent_path(graph: OperatorGraph, start: int, between: Iterable[int]) -> EdgeSet:
    """Return a longest path from a state's last value to its new one, through `between`."""
    best: dict[int, tuple[int, GraphEdge | None]] = {}
    for node in (graph.nodes[number] for number in between):
        for operand in node.operands:
            is_start = bool(operand.delay) and operand.node == start
            if is_start or (not operand.delay and operand.node in best):
                length_before = 0 if is_start else best[operand.node][0]
                length = length_before + _is_product(graph, node)
                if length > best.get(node.id, (-1, None))[0]:
                    best[node.id] = (length, (operand.node, node.id, operand.delay))
    return _trace_back(best, start) if start in best else frozenset()


def _trace_back(best: Mapping[int, tuple[int, GraphEdge | None]], end: int) -> EdgeSet:
    path: set[GraphEdge] = set()
    edge = best[end][1]
    while edge is not None and edge not in path:
        path.add(edge)
        if edge[2] or edge[0] not in best:
            break
        edge = best[edge[0]][1]
    return frozenset(path)


def _critical_cycle(graph: OperatorGraph, ratio: Fraction, *, sign: int) -> EdgeSet:
    """Return a cycle whose ratio of length to delays is `ratio`, the extreme one.

    With edge weights `sign · (length − ratio · delay)` no cycle has positive weight, and those of
    weight zero consist of edges on longest paths.
    """
    edges = sorted(recurrent_edges(graph))
    weights = {edge: sign * _edge_weight(graph, edge, ratio) for edge in edges}
    best = dict.fromkeys((number for edge in edges for number in edge[:2]), 0)
    order = [node.id for node in _topological_order(graph)]
    _relax_edges(graph, edges, ratio, sign, order, best)
    tight_edges = [edge for edge in edges if best[edge[0]] + weights[edge] == best[edge[1]]]
    return _find_cycle(tight_edges)


def _edge_weight(graph: OperatorGraph, edge: GraphEdge, ratio: Fraction) -> int:
    """Return length minus `ratio` per delay, times the ratio's denominator."""
    length = _is_product(graph, graph.nodes[edge[1]])
    return length * ratio.denominator - abs(edge[2]) * ratio.numerator


def _find_cycle(edges: Iterable[GraphEdge]) -> EdgeSet:
    """Return a cycle among some edges, always the same one; empty if there is none."""
    outgoing: dict[int, list[GraphEdge]] = {}
    for edge in edges:
        outgoing.setdefault(edge[0], []).append(edge)
    finished: set[int] = set()
    for start in sorted(outgoing):
        path: list[GraphEdge] = []
        position: dict[int, int] = {start: 0}
        choices = {start: list(outgoing[start])}
        number = start
        while True:
            if number in finished or not choices[number]:
                finished.add(number)
                if not path:
                    break
                position.pop(number, None)
                number = path.pop()[0]
                continue
            edge = choices[number].pop(0)
            if edge[1] in position:
                return frozenset([*path[position[edge[1]] :], edge])
            if edge[1] in finished or edge[1] not in outgoing:
                continue
            path.append(edge)
            number = edge[1]
            position[number] = len(path)
            choices.setdefault(number, list(outgoing[number]))
    return frozenset()
