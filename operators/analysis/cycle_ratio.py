"""Cycles of a graph whose edges have a length and a delay: the largest and the smallest ratio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush

CycleEdge = tuple[int, int, int, int]
"""(source, target, length, delay)"""


def extreme_cycle_ratio(edges: list[CycleEdge], *, sign: int) -> Fraction:
    """The largest (sign 1) or smallest (−1) length per delay among all cycles of a component.

    Dinkelbach's method: a cycle that beats the best ratio so far has a positive sum of
    `sign · (length − ratio · delay)`, and Bellman-Ford finds one. Cycles are never listed.
    """
    place = _topological_positions(edges)
    leaving: dict[int, list[int]] = {}
    for number, edge in enumerate(edges):
        leaving.setdefault(edge[0], []).append(number)
    best: Fraction | None = None
    while True:
        if best is None:
            # Any cycle will do to begin with: with every edge worth one, each has a positive sum.
            worth = [1] * len(edges)
        else:
            p, q = best.numerator, best.denominator
            worth = [sign * (length * q - delay * p) for _, _, length, delay in edges]
        cycle = _find_positive_cycle(edges, worth, leaving, place)
        if cycle is None:
            assert best is not None, "a strongly connected component has a cycle"
            return best
        best = Fraction(sum(edges[e][2] for e in cycle), sum(edges[e][3] for e in cycle))


def _topological_positions(edges: list[CycleEdge]) -> dict[int, int]:
    """The nodes of some edges in an order that follows those within a step."""
    waiting: dict[int, int] = {}
    leaving: dict[int, list[int]] = {}
    for source, target, _, delay in edges:
        waiting.setdefault(source, 0)
        waiting[target] = waiting.get(target, 0) + (delay == 0)
        if not delay:
            leaving.setdefault(source, []).append(target)
    ready = sorted(node for node, count in waiting.items() if count == 0)
    found: dict[int, int] = {}
    while ready:
        node = ready.pop()
        found[node] = len(found)
        for target in leaving.get(node, []):
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return found


def _find_positive_cycle(
    edges: list[CycleEdge],
    weights: list[int],
    outgoing: Mapping[int, Sequence[int]],
    position: Mapping[int, int],
) -> list[int] | None:
    """The edges of a cycle with a positive sum of worth, or None when there is none."""
    best = dict.fromkeys(position, 0)
    last: dict[int, int] = {}
    look = 1
    for number, _ in enumerate(
        relax_edges(edges, weights, outgoing, position, best, last, position), 1
    ):
        # To look for a cycle takes as long as a round of all nodes, and few rounds move so many.
        if number == look:
            cycle = _predecessor_cycle(last, edges)
            if cycle is not None:
                return cycle
            look *= 2
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
    """Follow edges from some nodes for as long as a path is worth more than the best so far.

    A round follows all edges within a step, and then those to the next one, of the nodes that
    the round before has improved; it stops between two rounds. best and last are kept up to date:
    what the best path to a node is worth, and its last edge.
    """
    moved = set(sources)
    while moved:
        ready = [(position[node], node) for node in moved]
        heapify(ready)
        now, moved = moved, set()
        while ready:
            _, node = heappop(ready)
            for number in outgoing.get(node, ()):
                _, target, _, delay = edges[number]
                reached = distances[node] + weights[number]
                if target in distances and reached <= distances[target]:
                    continue
                distances[target], predecessors[target] = reached, number
                if delay:
                    moved.add(target)
                elif target not in now:
                    now.add(target)
                    heappush(ready, (position[target], target))
        if moved:
            yield


def _predecessor_cycle(
    predecessors: Mapping[int, int], edges: Sequence[CycleEdge]
) -> list[int] | None:
    """A cycle among the predecessor edges, if there is one; such a cycle is always positive."""
    seen: dict[int, int] = {}
    for start in predecessors:
        node = start
        while node in predecessors and node not in seen:
            seen[node] = start
            node = edges[predecessors[node]][0]
        if seen.get(node) == start and node in predecessors:
            cycle = [predecessors[node]]
            at = edges[predecessors[node]][0]
            while at != node:
                cycle.append(predecessors[at])
                at = edges[predecessors[at]][0]
            return cycle
    return None
