"""Extreme cycle ratio: the largest or smallest length per delay of a graph's cycles.

Dinkelbach's method (1967) over Bellman-Ford searches for cycles of positive weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush

CycleEdge = tuple[int, int, int, int]
"""(source, target, length, delay)"""


def extreme_cycle_ratio(edges: list[CycleEdge], *, sign: int) -> Fraction:
    """Return the largest (sign 1) or smallest (−1) length per delay of any cycle.

    edges: those of one strongly connected component. A cycle that beats the best ratio so far has a
    positive sum of `sign · (length − ratio · delay)`, which Bellman-Ford finds; cycles are never
    enumerated.
    """
    position = _topological_positions(edges)
    outgoing: dict[int, list[int]] = {}
    for number, edge in enumerate(edges):
        outgoing.setdefault(edge[0], []).append(number)
    best: Fraction | None = None
    while True:
        if best is None:
            # Start from any cycle: with weight 1 on every edge, each cycle is positive.
            weights = [1] * len(edges)
        else:
            p, q = best.numerator, best.denominator
            weights = [sign * (length * q - delay * p) for _, _, length, delay in edges]
        cycle = _find_positive_cycle(edges, weights, outgoing, position)
        if cycle is None:
            assert best is not None, "a strongly connected component has a cycle"
            return best
        best = Fraction(sum(edges[e][2] for e in cycle), sum(edges[e][3] for e in cycle))


def _topological_positions(edges: list[CycleEdge]) -> dict[int, int]:
    """Return the nodes of some edges with their position along edges without delay."""
    edge_counts: dict[int, int] = {}
    outgoing: dict[int, list[int]] = {}
    for source, target, _, delay in edges:
        edge_counts.setdefault(source, 0)
        edge_counts[target] = edge_counts.get(target, 0) + (delay == 0)
        if not delay:
            outgoing.setdefault(source, []).append(target)
    ready = sorted(node for node, count in edge_counts.items() if count == 0)
    positions: dict[int, int] = {}
    while ready:
        node = ready.pop()
        positions[node] = len(positions)
        for target in outgoing.get(node, []):
            edge_counts[target] -= 1
            if edge_counts[target] == 0:
                ready.append(target)
    return positions


def _find_positive_cycle(
    edges: list[CycleEdge],
    weights: list[int],
    outgoing: Mapping[int, Sequence[int]],
    position: Mapping[int, int],
) -> list[int] | None:
    """Return the edges of a cycle with a positive sum of weights, or None."""
    distances = dict.fromkeys(position, 0)
    predecessors: dict[int, int] = {}
    next_search = 1
    for number, _ in enumerate(
        relax_edges(edges, weights, outgoing, position, distances, predecessors, position), 1
    ):
        # Rounds double between searches: a search costs a round of all nodes, most rounds less.
        if number == next_search:
            cycle = _predecessor_cycle(predecessors, edges)
            if cycle is not None:
                return cycle
            next_search *= 2
    return None


def relax_edges(
    edges: Sequence[CycleEdge],
    weights: Sequence[int],
    outgoing: Mapping[int, Sequence[int]],
    position: Mapping[int, int],
    distances: dict[int, int],
    predecessors: dict[int, int],
    sources: Iterable[int],
) -> Iterator[None]:
    """Relax edges from some nodes until no path gets heavier; yield after each round.

    A round follows all edges within a step, then those to the next one, from the nodes that the
    round before has improved. distances (weight of the best path to a node) and predecessors (its
    last edge) are updated in place.
    """
    improved = set(sources)
    while improved:
        ready = [(position[node], node) for node in improved]
        heapify(ready)
        current, improved = improved, set()
        while ready:
            _, node = heappop(ready)
            for number in outgoing.get(node, ()):
                _, target, _, delay = edges[number]
                distance = distances[node] + weights[number]
                if target in distances and distance <= distances[target]:
                    continue
                distances[target], predecessors[target] = distance, number
                if delay:
                    improved.add(target)
                elif target not in current:
                    current.add(target)
                    heappush(ready, (position[target], target))
        if improved:
            yield


def _predecessor_cycle(
    predecessors: Mapping[int, int], edges: Sequence[CycleEdge]
) -> list[int] | None:
    """Return a cycle of predecessor edges, whose weight is always positive, or None."""
    start_of: dict[int, int] = {}
    for start in predecessors:
        node = start
        while node in predecessors and node not in start_of:
            start_of[node] = start
            node = edges[predecessors[node]][0]
        if start_of.get(node) == start and node in predecessors:
            cycle = [predecessors[node]]
            node_on_cycle = edges[predecessors[node]][0]
            while node_on_cycle != node:
                cycle.append(predecessors[node_on_cycle])
                node_on_cycle = edges[predecessors[node_on_cycle]][0]
            return cycle
    return None
