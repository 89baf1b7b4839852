"""Rectangles, Bézier curves and whole layouts of diagrams."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["LR", "BT"]


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle: its center, width and height; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """The smallest x."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """The largest x."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """The smallest y."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """The largest y."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class EdgeRoute:
    """An edge's curve: a start, then triples of Bézier control points; `tip` is the arrow's."""

    points: tuple[Point, ...]
    tip: Point


@dataclass(frozen=True, slots=True)
class DiagramLayout:
    """Positions of boxes and clusters by key, and of edges in the diagram's order."""

    width: float
    height: float
    boxes: Mapping[str, Rect]
    clusters: Mapping[str, Rect]
    routes: tuple[EdgeRoute, ...]


def point_at_distance(route: EdgeRoute, distance: float) -> Point:
    """Return the point of a curve at a distance from its start."""
    start = route.points[0]
    remaining = distance
    for position in sample_points(route):
        step = math.dist(start, position)
        if step >= remaining > 0:
            share = remaining / step
            return (
                start[0] + share * (position[0] - start[0]),
                start[1] + share * (position[1] - start[1]),
            )
        remaining -= step
        start = position
    return start


def sample_points(route: EdgeRoute, spacing: float = 4.0) -> Iterator[Point]:
    """Yield points along a curve, at most `spacing` apart, and the tip of its arrow."""
    p = route.points
    yield p[0]
    for k in range(0, len(p) - 3, 3):
        a, b, c, d = p[k : k + 4]
        # The speed of a Bézier curve is at most three times its longest control segment.
        pieces = math.ceil(3 * max(math.dist(a, b), math.dist(b, c), math.dist(c, d)) / spacing)
        for i in range(1, pieces + 1):
            t = i / pieces
            s = 1 - t
            yield (
                s**3 * a[0] + 3 * s * s * t * b[0] + 3 * s * t * t * c[0] + t**3 * d[0],
                s**3 * a[1] + 3 * s * s * t * b[1] + 3 * s * t * t * c[1] + t**3 * d[1],
            )
    yield route.tip
