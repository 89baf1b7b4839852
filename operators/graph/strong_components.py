"""Strongly connected components (Tarjan 1972), in an order fixed by that of nodes and edges.

networkx has them too, but takes longer to import than a spec takes to be checked; tests compare
the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def strong_components(successors: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the components of a graph, each after all that it can reach.

    successors: by node, the targets of its edges.
    """
    index = [-1] * len(successors)
    low_link = [0] * len(successors)
    open_nodes: list[int] = []
    is_open = [False] * len(successors)
    next_index = 0
    for root in range(len(successors)):
        if index[root] >= 0:
            continue
        path = [(root, 0)]
        while path:
            node, edge = path.pop()
            if edge == 0:
                index[node] = low_link[node] = next_index
                next_index += 1
                open_nodes.append(node)
                is_open[node] = True
            for edge_index in range(edge, len(successors[node])):
                target = successors[node][edge_index]
                if index[target] < 0:
                    path += [(node, edge_index + 1), (target, 0)]
                    break
                if is_open[target]:
                    low_link[node] = min(low_link[node], low_link[target])
            else:
                if low_link[node] == index[node]:
                    component: list[int] = []
                    while not component or component[-1] != node:
                        component.append(open_nodes.pop())
                        is_open[component[-1]] = False
                    yield component
                if path:
                    parent = path[-1][0]
                    low_link[parent] = min(low_link[parent], low_link[node])
