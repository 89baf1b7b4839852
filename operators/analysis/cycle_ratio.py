"""Cycles of a graph whose edges have a length and a delay: the largest and the smallest ratio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush

Edge = tuple[int, int, int, int]
"""(source, target, length, delay)"""


def extreme_ratio(edges: list[Edge], *, sign: int) -> Fraction:
    """The largest (sign 1) or smallest (−1) length per delay among all cycles of a component.

    Dinkelbach's method: a cycle that beats the best ratio so far has a positive sum of
    `sign · (length − ratio · delay)`, and Bellman-Ford finds one. Cycles are never listed.
    """
    place = _places(edges)
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
        cycle = _positive_cycle(edges, worth, leaving, place)
        if cycle is None:
            assert best is not None, "a strongly connected component has a cycle"
            return best
        best = Fraction(sum(edges[e][2] for e in cycle), sum(edges[e][3] for e in cycle))


def _places(edges: list[Edge]) -> dict[int, int]:
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


def _positive_cycle(
    edges: list[Edge],
    worth: list[int],
    leaving: Mapping[int, Sequence[int]],
    place: Mapping[int, int],
) -> list[int] | None:
    """The edges of a cycle with a positive sum of worth, or None when there is none."""
    best = dict.fromkeys(place, 0)
    last: dict[int, int] = {}
    look = 1
    for number, _ in enumerate(rounds(edges, worth, leaving, place, best, last, place), 1):
        # To look for a cycle takes as long as a round of all nodes, and few rounds move so many.
        if number == look:
            cycle = _cycle_of(last, edges)
            if cycle is not None:
                return cycle
            look *= 2
    return None


def rounds(
    edges: Sequence[Edge],
    worth: Sequence[int],
    leaving: Mapping[int, Sequence[int]],
    place: Mapping[int, int],
    best: dict[int, int],
    last: dict[int, int],
    start: Iterable[int],
) -> Iterator[None]:
    """Follow edges from some nodes for as long as a path is worth more than the best so far.

    A round follows all edges within a step, and then those to the next one, of the nodes that
    the round before has improved; it stops between two rounds. best and last are kept up to date:
    what the best path to a node is worth, and its last edge.
    """
    moved = set(start)
    while moved:
        ready = [(place[node], node) for node in moved]
        heapify(ready)
        now, moved = moved, set()
        while ready:
            _, node = heappop(ready)
            for number in leaving.get(node, ()):
                _, target, _, delay = edges[number]
                reached = best[node] + worth[number]
                if target in best and reached <= best[target]:
                    continue
                best[target], last[target] = reached, number
                if delay:
                    moved.add(target)
                elif target not in now:
                    now.add(target)
                    heappush(ready, (place[target], target))
        if moved:
            yield


def _cycle_of(last: Mapping[int, int], edges: Sequence[Edge]) -> list[int] | None:
    """A cycle among the predecessor edges, if there is one; such a cycle is always positive."""
    seen: dict[int, int] = {}
    for start in last:
        node = start
        while node in last and node not in seen:
            seen[node] = start
            node = edges[last[node]][0]
        if seen.get(node) == start and node in last:
            cycle = [last[node]]
            at = edges[last[node]][0]
            while at != node:
                cycle.append(last[at])
                at = edges[last[at]][0]
            return cycle
    return None
