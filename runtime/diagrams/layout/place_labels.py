"""Place cluster names and edge labels of a picture where they overlap nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Cluster, Diagram
from rnnc.runtime.diagrams.model.labels import plain_label

from .box_sizes import LABEL_SIZE, NOTE_SIZE, label_width
from .geometry import DiagramLayout, EdgeRoute, Point, Rect, point_at_distance, sample_points

_CELL: Final = 32.0
_HEIGHT: Final = 12.0


@dataclass(frozen=True, slots=True)
class LabelPlacement:
    """Rectangles for cluster names by key, and for edge labels by edge index."""

    clusters: dict[str, Rect]
    edges: dict[int, Rect]


class _OccupancyGrid:
    """Occupied rectangles and curve points, indexed by grid cell."""

    def __init__(self) -> None:
        self.frames: dict[tuple[int, int], list[Rect]] = {}
        self.points: dict[tuple[int, int], list[Point]] = {}

    def occupy_rect(self, rect: Rect) -> None:
        """Reserve a rectangle."""
        for square in _grid_cells(rect, 0):
            self.frames.setdefault(square, []).append(rect)

    def occupy_route(self, route: EdgeRoute) -> None:
        """Reserve the points of a curve."""
        for x, y in sample_points(route):
            self.points.setdefault((int(x // _CELL), int(y // _CELL)), []).append((x, y))

    def is_free(self, rect: Rect) -> bool:
        """Test that a rectangle touches nothing."""
        left, right, top, bottom = rect.left - 2, rect.right + 2, rect.top - 2, rect.bottom + 2
        return not any(
            any(rects_overlap(rect, other) for other in self.frames.get(square, ()))
            or any(left < x < right and top < y < bottom for x, y in self.points.get(square, ()))
            for square in _grid_cells(rect, 2)
        )


def _grid_cells(rect: Rect, margin: float) -> Iterator[tuple[int, int]]:
    rows = range(int((rect.top - margin) // _CELL), int((rect.bottom + margin) // _CELL) + 1)
    for column in range(
        int((rect.left - margin) // _CELL), int((rect.right + margin) // _CELL) + 1
    ):
        for row in rows:
            yield column, row


def place_labels(diagram: Diagram, layout: DiagramLayout) -> LabelPlacement:
    """Choose for each label the first free position."""
    grid = _OccupancyGrid()
    for rect in layout.boxes.values():
        grid.occupy_rect(rect)
    for route in layout.routes:
        grid.occupy_route(route)
    cluster_names: dict[str, Rect] = {}
    for cluster in diagram.clusters:
        if cluster.key not in layout.clusters:
            continue
        choices = list(_positions_in_cluster(cluster, layout.clusters[cluster.key]))
        cluster_names[cluster.key] = next((c for c in choices if grid.is_free(c)), choices[0])
        grid.occupy_rect(cluster_names[cluster.key])
    edge_labels: dict[int, Rect] = {}
    borders = [*layout.clusters.values()]
    for index, edge in enumerate(diagram.edges):
        if not edge.label:
            continue
        label_size = label_width(plain_label(edge.label), NOTE_SIZE)
        positions = _positions_beside(layout.routes[index], label_size)
        position = next(
            (
                f
                for f in positions
                if grid.is_free(f) and not any(_crosses_border(f, b) for b in borders)
            ),
            None,
        )
        if position:
            edge_labels[index] = position
            grid.occupy_rect(position)
    return LabelPlacement(cluster_names, edge_labels)


def _positions_beside(route: EdgeRoute, text_width: float) -> Iterator[Rect]:
    """Yield positions on either side of a curve, near its start first."""
    for distance in (14.0, 22.0, 30.0, 9.0, 42.0, 60.0):
        x, y = point_at_distance(route, distance)
        bx, by = point_at_distance(route, distance + 2)
        length = math.hypot(bx - x, by - y) or 1.0
        across, down = (by - y) / length, (x - bx) / length  # the curve's normal
        for side in (1, -1) if down <= 0 else (-1, 1):  # first above it, or right of it
            yield Rect(
                x + side * across * (text_width / 2 + 5), y + side * down * 8.5, text_width, 9.0
            )
        yield Rect(x + text_width / 2 + 4, y, text_width, 9.0)


def _positions_in_cluster(cluster: Cluster, rect: Rect) -> Iterable[Rect]:
    text_width = label_width(cluster.label, LABEL_SIZE)
    left = rect.left + 6 + text_width / 2
    right = rect.right - 6 - text_width / 2
    top, bottom = rect.top + 9, rect.bottom - 9
    yield Rect(left, top, text_width, _HEIGHT)
    for x in (left, right, rect.x):
        for y in (top, bottom):
            yield Rect(x, y, text_width, _HEIGHT)


def _crosses_border(label: Rect, border: Rect) -> bool:
    inside = (
        border.left < label.left
        and label.right < border.right
        and border.top < label.top
        and label.bottom < border.bottom
    )
    return rects_overlap(label, border) and not inside


def rects_overlap(a: Rect, b: Rect) -> bool:
    """Test that two rectangles share an inner point."""
    return abs(a.x - b.x) * 2 < a.width + b.width and abs(a.y - b.y) * 2 < a.height + b.height
