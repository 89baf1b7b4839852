"""Strongly connected components of a graph (Tarjan 1972).

networkx has them too, and takes longer to import than a spec takes to be checked; the tests hold
this against it. The order of components is fixed by that of nodes and edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def strong_components(successors: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """The components of a graph; `successors` holds, by node, where its edges lead.

    A component comes after all that can be reached from it.
    """
    index = [-1] * len(successors)
    low = [0] * len(successors)
    open_nodes: list[int] = []
    is_open = [False] * len(successors)
    count = 0
    for root in range(len(successors)):
        if index[root] >= 0:
            continue
        path = [(root, 0)]
        while path:
            node, edge = path.pop()
            if edge == 0:
                index[node] = low[node] = count
                count += 1
                open_nodes.append(node)
                is_open[node] = True
            for place in range(edge, len(successors[node])):
                target = successors[node][place]
                if index[target] < 0:
                    path += [(node, place + 1), (target, 0)]
                    break
                if is_open[target]:
                    low[node] = min(low[node], low[target])
            else:
                if low[node] == index[node]:
                    found: list[int] = []
                    while not found or found[-1] != node:
                        found.append(open_nodes.pop())
                        is_open[found[-1]] = False
                    yield found
                if path:
                    parent = path[-1][0]
                    low[parent] = min(low[parent], low[node])
