"""Where the small texts of a picture go: names of frames, widths of values, clear of all else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .diagram import Cluster, Diagram
from .labels import plain
from .layout import Frame, Layout, Point, along, samples
from .measure import POINT, SMALL, width

Points = dict[tuple[int, int], list[Point]]
"""Points of curves, by the square of the plane that they lie in."""

_CELL: Final = 32.0
_HEIGHT: Final = 12.0


@dataclass(frozen=True, slots=True)
class Labels:
    """Frames for the names of clusters by key, and for the labels of edges by their number."""

    clusters: dict[str, Frame]
    edges: dict[int, Frame]


def place_labels(diagram: Diagram, layout: Layout) -> Labels:
    """Choose for each text the first place that nothing else takes."""
    taken = list(layout.boxes.values())
    curves: Points = {}
    for route in layout.routes:
        for x, y in samples(route, 24):
            curves.setdefault((int(x // _CELL), int(y // _CELL)), []).append((x, y))
    names: dict[str, Frame] = {}
    for cluster in diagram.clusters:
        if cluster.key not in layout.clusters:
            continue
        choices = list(_corners(cluster, layout.clusters[cluster.key]))
        names[cluster.key] = next((c for c in choices if _free(c, taken, curves)), choices[0])
        taken.append(names[cluster.key])
    sizes: dict[int, Frame] = {}
    borders = [*layout.clusters.values()]
    for index, edge in enumerate(diagram.edges):
        if not edge.label:
            continue
        wide = width(plain(edge.label), SMALL)
        for distance in (14.0, 22.0, 30.0, 9.0):
            x, y = along(layout.routes[index], distance)
            places = [
                Frame(x + dx, y + dy, wide, 9.0) for dx, dy in ((0, -8), (0, 8), (wide / 2 + 4, 0))
            ]
            free = [
                f
                for f in places
                if _free(f, taken, curves) and not any(_on_border(f, b) for b in borders)
            ]
            if free:
                sizes[index] = free[0]
                taken.append(free[0])
                break
    return Labels(names, sizes)


def _corners(cluster: Cluster, frame: Frame) -> Iterable[Frame]:
    wide = width(cluster.label, POINT)
    left = frame.left + 6 + wide / 2
    right = frame.right - 6 - wide / 2
    top, bottom = frame.top + 9, frame.bottom - 9
    yield Frame(left, top, wide, _HEIGHT)
    for x in (left, right, frame.x):
        for y in (top, bottom):
            yield Frame(x, y, wide, _HEIGHT)


def _free(frame: Frame, taken: list[Frame], curves: Points) -> bool:
    if any(overlap(frame, other) for other in taken):
        return False
    left, right, top, bottom = frame.left - 2, frame.right + 2, frame.top - 2, frame.bottom + 2
    return not any(
        left < x < right and top < y < bottom
        for column in range(int(left // _CELL), int(right // _CELL) + 1)
        for row in range(int(top // _CELL), int(bottom // _CELL) + 1)
        for x, y in curves.get((column, row), ())
    )


def _on_border(label: Frame, border: Frame) -> bool:
    inside = (
        border.left < label.left
        and label.right < border.right
        and border.top < label.top
        and label.bottom < border.bottom
    )
    return overlap(label, border) and not inside


def overlap(a: Frame, b: Frame) -> bool:
    """Whether two rectangles share a point inside both."""
    return abs(a.x - b.x) * 2 < a.width + b.width and abs(a.y - b.y) * 2 < a.height + b.height
