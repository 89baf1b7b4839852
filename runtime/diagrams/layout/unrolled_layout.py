"""Lay out an unrolled diagram: one step laid out, repeated, and delays routed between.

Every step looks the same, as in the papers; time runs to the right, depth upwards.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from rnnc.runtime.diagrams.model.diagram import Diagram, Edge

from .box_sizes import box_size
from .geometry import DiagramLayout, EdgeRoute, Point, Rect
from .graphviz_layout import compute_layout, parse_route, run_graphviz
from .place_labels import rects_overlap

STEP_GAP: Final = 46.0
"""Points between two steps."""

MAX_ROUTED_TOGETHER: Final = 40
"""Boxes above which each edge is routed alone, since routing time grows superquadratically."""

ROUTING_MARGIN: Final = 60.0
"""Points around an edge's ends in which boxes count as obstacles."""


def compute_unrolled_layout(diagram: Diagram) -> DiagramLayout:
    """Compute coordinates in points.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    step = {box.key: _visible_step(box.key, box.step, diagram.steps) for box in diagram.boxes}
    first_step = Diagram(
        diagram.name,
        diagram.level,
        tuple(box for box in diagram.boxes if step[box.key] == 0),
        tuple(cluster for cluster in diagram.clusters if cluster.step == 0),
        tuple(e for e in diagram.edges if not e.delay and step[e.source] == 0),
    )
    step_layout = compute_layout(first_step, "BT")
    pitch = step_layout.width + STEP_GAP
    boxes: dict[str, Rect] = {}
    for box in diagram.boxes:
        number = step[box.key]
        if number is not None:
            rect = step_layout.boxes[_first_step_key(box.key)]
            boxes[box.key] = replace(rect, x=rect.x + number * pitch)
    clusters = {}
    for cluster in diagram.clusters:
        rect = step_layout.clusters[_first_step_key(cluster.key)]
        clusters[cluster.key] = replace(rect, x=rect.x + (cluster.step or 0) * pitch)
    right = (diagram.steps - 1) * pitch + step_layout.width
    left = _place_boundary_boxes(diagram, boxes, right)
    routes: dict[int, EdgeRoute] = {}
    step_routes = {
        (e.source, e.target, e.kind): route
        for e, route in zip(first_step.edges, step_layout.routes, strict=True)
    }
    crossing_edges: list[tuple[int, Edge]] = []
    for index, edge in enumerate(diagram.edges):
        number = step[edge.source]
        if edge.delay or number is None:
            crossing_edges.append((index, edge))
            continue
        route = step_routes[_first_step_key(edge.source), _first_step_key(edge.target), edge.kind]
        routes[index] = _translate(route, number * pitch)
    routes |= _route_between_steps(diagram, boxes, crossing_edges, step, pitch)
    ordered_routes = tuple(_translate(routes[index], -left) for index in range(len(diagram.edges)))
    widest = max(rect.right for rect in boxes.values())
    lowest = max([step_layout.height, *(rect.bottom for rect in boxes.values())])
    return DiagramLayout(
        max(widest, right) - left,
        lowest,
        {key: replace(rect, x=rect.x - left) for key, rect in boxes.items()},
        {key: replace(rect, x=rect.x - left) for key, rect in clusters.items()},
        ordered_routes,
    )


def _visible_step(key: str, step: int | None, steps: int) -> int | None:
    return step if step is not None and 0 <= step < steps and "_more_" not in key else None


def _first_step_key(key: str) -> str:
    return key.rpartition("_at_")[0] + "_at_0"


def _translate(route: EdgeRoute, by: float) -> EdgeRoute:
    return EdgeRoute(tuple((x + by, y) for x, y in route.points), (route.tip[0] + by, route.tip[1]))


def _place_boundary_boxes(diagram: Diagram, boxes: dict[str, Rect], right: float) -> float:
    """Place boxes from outside the steps left and right of them, level with their copies."""
    left = 0.0
    occupied: list[Rect] = list(boxes.values())
    for box in diagram.boxes:
        if box.key in boxes:
            continue
        width, height = box_size(box)
        is_after = box.step is not None and box.step >= diagram.steps
        first_copy = box.key.partition("_at_")[0].partition("_more_")[0] + "_at_0"
        x = right + STEP_GAP - 10 + width / 2 if is_after else -STEP_GAP + 10 - width / 2
        rect = Rect(x, boxes[first_copy].y, width, height)
        while any(abs(f.x - rect.x) < 60 and abs(f.y - rect.y) < height + 10 for f in occupied):
            rect = replace(rect, y=rect.y + height + 12)
        boxes[box.key] = rect
        occupied.append(rect)
        left = min(left, rect.left)
    return left


def _route_between_steps(
    diagram: Diagram,
    boxes: dict[str, Rect],
    edges: list[tuple[int, Edge]],
    step: dict[str, int | None],
    pitch: float,
) -> dict[int, EdgeRoute]:
    """Route edges between steps; all but the first steps reuse translated curves."""

    def column(key: str) -> int:
        number = step[key]
        if number is not None:
            return number
        return diagram.steps if boxes[key].x > 0 else -1

    windows: dict[tuple[int, int], list[tuple[int, Edge]]] = {}
    for index, edge in edges:
        ends = column(edge.source), column(edge.target)
        windows.setdefault((min(ends), max(ends)), []).append((index, edge))
    routes: dict[int, EdgeRoute] = {}
    first: dict[tuple[str, str, int], EdgeRoute] = {}
    for (low, high), window_edges in sorted(windows.items()):
        if low > 0 and high < diagram.steps:
            for index, edge in window_edges:
                route = first[
                    _first_step_key(edge.source), _first_step_key(edge.target), edge.delay
                ]
                routes[index] = _translate(route, low * pitch)
            continue
        nearby = {key: rect for key, rect in boxes.items() if low <= column(key) <= high}
        window_routes: dict[int, EdgeRoute] = {}
        for group in _routing_groups(nearby, window_edges):
            window_routes |= _run_router(*group)
        routes |= window_routes
        if low == 0 and high < diagram.steps:
            for index, edge in window_edges:
                first[_first_step_key(edge.source), _first_step_key(edge.target), edge.delay] = (
                    window_routes[index]
                )
    return routes


def _routing_groups(
    boxes: dict[str, Rect], edges: list[tuple[int, Edge]]
) -> list[tuple[dict[str, Rect], list[tuple[int, Edge]]]]:
    """Split edges into groups for the router, each with its nearby boxes."""
    if len(boxes) <= MAX_ROUTED_TOGETHER:
        return [(boxes, edges)]
    groups = []
    for index, edge in edges:
        a, b = boxes[edge.source], boxes[edge.target]
        left, right = min(a.left, b.left) - ROUTING_MARGIN, max(a.right, b.right) + ROUTING_MARGIN
        top, bottom = min(a.top, b.top) - ROUTING_MARGIN, max(a.bottom, b.bottom) + ROUTING_MARGIN
        area = Rect((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        nearby = {key: rect for key, rect in boxes.items() if rects_overlap(area, rect)}
        groups.append((nearby, [(index, edge)]))
    return groups


def _run_router(
    boxes: dict[str, Rect], crossing_edges: list[tuple[int, Edge]]
) -> dict[int, EdgeRoute]:
    """Route curves around all boxes with Graphviz's spline router.

    Names and positions are relative, so that equal steps hit the cache.
    """
    lines = ["digraph {", 'splines=true; esep="+3"; node [shape=box, fixedsize=true, label=""];']
    names = {key: f"b{number}" for number, key in enumerate(boxes)}
    left = min(rect.x for rect in boxes.values())
    for key, rect in boxes.items():
        lines.append(
            f'{names[key]} [pos="{rect.x - left:.2f},{-rect.y:.2f}", '
            f"width={rect.width / 72:.4f}, height={rect.height / 72:.4f}];"
        )
    for number, (_, edge) in enumerate(crossing_edges):
        ends = f"{names[edge.source]} -> {names[edge.target]}"
        lines.append(f"{ends} [id={number}, arrowsize=0.6];")
    lines.append("}")
    data: dict[str, Any] = json.loads(run_graphviz("\n".join(lines), "nop"))
    right, down = _router_offset(data, next(iter(boxes.values())))
    routes = {}
    for item in data["edges"]:
        route = parse_route(item["pos"], 0.0, reverse=False)
        routes[crossing_edges[int(item["id"])][0]] = EdgeRoute(
            tuple((x + right, y + down) for x, y in route.points),
            (route.tip[0] + right, route.tip[1] + down),
        )
    return routes


def _router_offset(data: dict[str, Any], first: Rect) -> Point:
    """Return the translation between Graphviz's coordinates and the caller's."""
    item = next(item for item in data["objects"] if item["name"] == "b0")
    x, y = (float(n) for n in item["pos"].split(","))
    return first.x - x, first.y + y
