"""Assign rows and columns to boxes of a text drawing, after Sugiyama et al. (1981).

Boxes are in layers, each value above its readers; a value that passes a layer has an item
there. Columns are the least-squares fit to the neighbors' centers that keeps the boxes apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Diagram, Edge

_SWEEP_COUNT: Final = 12
_GAP: Final = 2


@dataclass(slots=True)
class LayerItem:
    """A box in its layer, or (`width` 1) a value of box `key` that passes the layer."""

    key: str
    layer: int
    width: int
    is_passing: bool = False
    column: int = 0
    """Left end."""

    @property
    def middle(self) -> int:
        """Column of the center."""
        return self.column + (self.width - 1) // 2


@dataclass(slots=True)
class LayeredGrid:
    """Layers from top to bottom; `links` holds, by layer, edges to the layer below."""

    layers: list[list[LayerItem]]
    links: list[list[tuple[LayerItem, LayerItem]]] = field(default_factory=list)


def arrange_layers(diagram: Diagram, widths: Mapping[str, int]) -> LayeredGrid:
    """Assign layers, order and columns to the boxes of a diagram."""
    edges = [edge for edge in diagram.edges if not edge.delay or diagram.steps]
    depth = _assign_layers(diagram, edges)
    grid = _build_grid(diagram, edges, depth, widths)
    _reduce_crossings(grid)
    _assign_columns(grid)
    return grid


def _assign_layers(diagram: Diagram, edges: Sequence[Edge]) -> dict[str, int]:
    """Put each box as low as its readers allow, next to them.

    A box without readers in this step is right below its operands.
    """
    readers: dict[str, list[str]] = {}
    feeders: dict[str, list[str]] = {}
    for edge in edges:
        readers.setdefault(edge.source, []).append(edge.target)
        feeders.setdefault(edge.target, []).append(edge.source)
    height: dict[str, int] = {}
    for key in reversed(_topological_order(diagram, readers, feeders)):
        height[key] = 1 + max((height[reader] for reader in readers.get(key, [])), default=-1)
    highest = max(height.values(), default=0)
    depth = {key: highest - value for key, value in height.items()}
    ends = {box.key for box in diagram.boxes if box.role == "output"}
    for key in depth:
        if key not in readers and key not in ends:
            depth[key] = 1 + max((depth[feeder] for feeder in feeders.get(key, [])), default=-1)
    return depth


def _topological_order(
    diagram: Diagram, readers: Mapping[str, list[str]], feeders: Mapping[str, list[str]]
) -> list[str]:
    """Return all boxes, each after its operands."""
    missing_operands = {box.key: len(feeders.get(box.key, [])) for box in diagram.boxes}
    ready = [key for key, count in missing_operands.items() if not count]
    order: list[str] = []
    while ready:
        key = ready.pop()
        order.append(key)
        for reader in readers.get(key, []):
            missing_operands[reader] -= 1
            if not missing_operands[reader]:
                ready.append(reader)
    return order


def _build_grid(
    diagram: Diagram, edges: Sequence[Edge], depth: Mapping[str, int], widths: Mapping[str, int]
) -> LayeredGrid:
    count = 1 + max(depth.values(), default=0)
    grid = LayeredGrid([[] for _ in range(count)], [[] for _ in range(count)])
    items: dict[str, LayerItem] = {}
    for box in diagram.boxes:
        items[box.key] = LayerItem(box.key, depth[box.key], widths[box.key])
        grid.layers[depth[box.key]].append(items[box.key])
    readers: dict[str, list[str]] = {}
    for edge in edges:
        if edge.target not in readers.setdefault(edge.source, []):
            readers[edge.source].append(edge.target)
    for source, targets in readers.items():
        above = items[source]
        for layer in range(depth[source] + 1, max(depth[t] for t in targets) + 1):
            grid.links[layer - 1] += [(above, items[t]) for t in targets if depth[t] == layer]
            if any(depth[t] > layer for t in targets):
                passing = LayerItem(source, layer, 1, is_passing=True)
                grid.layers[layer].append(passing)
                grid.links[layer - 1].append((above, passing))
                above = passing
    return grid


def _reduce_crossings(grid: LayeredGrid) -> None:
    """Sort each layer by its neighbors' mean position, down and up; keep the best order."""
    best = [list(layer) for layer in grid.layers]
    fewest = _count_crossings(grid)
    for sweep in range(_SWEEP_COUNT):
        downwards = sweep % 2 == 0
        numbers = range(len(grid.layers)) if downwards else range(len(grid.layers) - 1, -1, -1)
        for number in numbers:
            neighbor_layer = number - 1 if downwards else number + 1
            if not 0 <= neighbor_layer < len(grid.layers):
                continue
            neighbor_position = {id(item): i for i, item in enumerate(grid.layers[neighbor_layer])}
            neighbor_positions: dict[int, list[int]] = {}
            for above, below in grid.links[min(number, neighbor_layer)]:
                current, neighbor = (below, above) if downwards else (above, below)
                neighbor_positions.setdefault(id(current), []).append(
                    neighbor_position[id(neighbor)]
                )
            position = {id(item): i for i, item in enumerate(grid.layers[number])}
            grid.layers[number].sort(
                key=lambda item: _mean(neighbor_positions.get(id(item), [position[id(item)]]))
            )
        crossings = _count_crossings(grid)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in grid.layers]
    grid.layers[:] = best


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / len(numbers)


def _count_crossings(grid: LayeredGrid) -> int:
    total = 0
    for number, links in enumerate(grid.links[:-1]):
        above = {id(item): i for i, item in enumerate(grid.layers[number])}
        below = {id(item): i for i, item in enumerate(grid.layers[number + 1])}
        pairs = sorted((above[id(a)], below[id(b)]) for a, b in links)
        if len(pairs) > 400:  # quadratic: counting would dominate the layout time
            continue
        for i, (a, b) in enumerate(pairs):
            total += sum(1 for c, d in pairs[i + 1 :] if c > a and d < b)
    return total


def _assign_columns(grid: LayeredGrid) -> None:
    for layer in grid.layers:
        column = 0
        for item in layer:
            item.column = column
            column += item.width + _GAP
    above: dict[int, list[LayerItem]] = {}
    below: dict[int, list[LayerItem]] = {}
    for links in grid.links:
        for a, b in links:
            above.setdefault(id(b), []).append(a)
            below.setdefault(id(a), []).append(b)
    for sweep in range(_SWEEP_COUNT):
        neighbors = above if sweep % 2 == 0 else below
        layers = grid.layers if sweep % 2 == 0 else grid.layers[::-1]
        for layer in layers:
            targets = []
            for item in layer:
                item_neighbors = neighbors.get(id(item), [])
                middle = (
                    sum(o.middle for o in item_neighbors) / len(item_neighbors)
                    if item_neighbors
                    else item.middle
                )
                targets.append(middle - (item.width - 1) // 2)
            _separate_items(layer, targets)
    left = min((item.column for layer in grid.layers for item in layer), default=0)
    for layer in grid.layers:
        for item in layer:
            item.column -= left


def _separate_items(layer: Sequence[LayerItem], targets: Sequence[float]) -> None:
    """Set columns to the least-squares fit to `targets` that keeps order and gaps.

    Subtracting each item's offset turns the gaps into monotonicity, which pooling adjacent
    violators solves (Ayer et al. 1955).
    """
    offsets = [0]
    for item in layer[:-1]:
        offsets.append(offsets[-1] + item.width + _GAP)
    pools: list[tuple[float, int]] = []
    for target, offset in zip(targets, offsets, strict=True):
        pools.append((target - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (b, n), (a, m) = pools.pop(), pools.pop()
            pools.append(((a * m + b * n) / (m + n), m + n))
    index = 0
    for value, size in pools:
        for _ in range(size):
            layer[index].column = round(value) + offsets[index]
            index += 1
