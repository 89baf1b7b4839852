"""Where the small texts of a picture go: names of frames, widths of values, clear of all else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Cluster, Diagram
from rnnc.runtime.diagrams.model.labels import plain_label

from .box_sizes import LABEL_SIZE, NOTE_SIZE, label_width
from .graphviz_layout import DiagramLayout, EdgeRoute, Point, Rect, point_at_distance, sample_points

_CELL: Final = 32.0
_HEIGHT: Final = 12.0


@dataclass(frozen=True, slots=True)
class LabelPlacement:
    """Frames for the names of clusters by key, and for the labels of edges by their number."""

    clusters: dict[str, Rect]
    edges: dict[int, Rect]


class _OccupancyGrid:
    """What is taken so far, by the squares of the plane that it lies in."""

    def __init__(self) -> None:
        self.frames: dict[tuple[int, int], list[Rect]] = {}
        self.points: dict[tuple[int, int], list[Point]] = {}

    def occupy_rect(self, frame: Rect) -> None:
        """Nothing may overlap this rectangle from now on."""
        for square in _grid_cells(frame, 0):
            self.frames.setdefault(square, []).append(frame)

    def occupy_route(self, route: EdgeRoute) -> None:
        """Nothing may touch this curve from now on."""
        for x, y in sample_points(route):
            self.points.setdefault((int(x // _CELL), int(y // _CELL)), []).append((x, y))

    def is_free(self, frame: Rect) -> bool:
        """Whether a rectangle would touch nothing."""
        left, right, top, bottom = frame.left - 2, frame.right + 2, frame.top - 2, frame.bottom + 2
        return not any(
            any(rects_overlap(frame, other) for other in self.frames.get(square, ()))
            or any(left < x < right and top < y < bottom for x, y in self.points.get(square, ()))
            for square in _grid_cells(frame, 2)
        )


def _grid_cells(frame: Rect, margin: float) -> Iterator[tuple[int, int]]:
    rows = range(int((frame.top - margin) // _CELL), int((frame.bottom + margin) // _CELL) + 1)
    for column in range(
        int((frame.left - margin) // _CELL), int((frame.right + margin) // _CELL) + 1
    ):
        for row in rows:
            yield column, row


def place_labels(diagram: Diagram, layout: DiagramLayout) -> LabelPlacement:
    """Choose for each text the first place that nothing else takes."""
    plane = _OccupancyGrid()
    for frame in layout.boxes.values():
        plane.occupy_rect(frame)
    for route in layout.routes:
        plane.occupy_route(route)
    names: dict[str, Rect] = {}
    for cluster in diagram.clusters:
        if cluster.key not in layout.clusters:
            continue
        choices = list(_positions_in_cluster(cluster, layout.clusters[cluster.key]))
        names[cluster.key] = next((c for c in choices if plane.is_free(c)), choices[0])
        plane.occupy_rect(names[cluster.key])
    sizes: dict[int, Rect] = {}
    borders = [*layout.clusters.values()]
    for index, edge in enumerate(diagram.edges):
        if not edge.label:
            continue
        wide = label_width(plain_label(edge.label), NOTE_SIZE)
        places = _positions_beside(layout.routes[index], wide)
        found = next(
            (
                f
                for f in places
                if plane.is_free(f) and not any(_crosses_border(f, b) for b in borders)
            ),
            None,
        )
        if found:
            sizes[index] = found
            plane.occupy_rect(found)
    return LabelPlacement(names, sizes)


def _positions_beside(route: EdgeRoute, wide: float) -> Iterator[Rect]:
    """Places for a text on either side of a curve, near its start first."""
    for distance in (14.0, 22.0, 30.0, 9.0, 42.0, 60.0):
        x, y = point_at_distance(route, distance)
        bx, by = point_at_distance(route, distance + 2)
        length = math.hypot(bx - x, by - y) or 1.0
        across, down = (by - y) / length, (x - bx) / length  # the curve's normal
        for side in (1, -1) if down <= 0 else (-1, 1):  # above it, or right of it, first
            yield Rect(x + side * across * (wide / 2 + 5), y + side * down * 8.5, wide, 9.0)
        yield Rect(x + wide / 2 + 4, y, wide, 9.0)


def _positions_in_cluster(cluster: Cluster, frame: Rect) -> Iterable[Rect]:
    wide = label_width(cluster.label, LABEL_SIZE)
    left = frame.left + 6 + wide / 2
    right = frame.right - 6 - wide / 2
    top, bottom = frame.top + 9, frame.bottom - 9
    yield Rect(left, top, wide, _HEIGHT)
    for x in (left, right, frame.x):
        for y in (top, bottom):
            yield Rect(x, y, wide, _HEIGHT)


def _crosses_border(label: Rect, border: Rect) -> bool:
    inside = (
        border.left < label.left
        and label.right < border.right
        and border.top < label.top
        and label.bottom < border.bottom
    )
    return rects_overlap(label, border) and not inside


def rects_overlap(a: Rect, b: Rect) -> bool:
    """Whether two rectangles share a point inside both."""
    return abs(a.x - b.x) * 2 < a.width + b.width and abs(a.y - b.y) * 2 < a.height + b.height
