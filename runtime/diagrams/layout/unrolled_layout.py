"""Coordinates for an unrolled diagram: one step laid out, repeated, and the delays routed between.

Every step looks the same, as in the papers; time runs to the right, depth upwards.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from rnnc.runtime.diagrams.model.diagram import Diagram, Edge

from .box_sizes import box_size
from .graphviz_layout import Frame, Layout, Point, Route, arranged, lay_out, read_route
from .place_labels import overlap

GAP: Final = 46.0
"""Points between two steps."""

MOST_ROUTED: Final = 40
"""Boxes among which all edges are routed together."""

NEAR: Final = 60.0
"""Points around an edge's ends in which boxes may stand in its way."""


def lay_out_steps(diagram: Diagram) -> Layout:
    """Coordinates in points.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    step = {box.key: _step_of(box.key, box.step, diagram.steps) for box in diagram.boxes}
    first = Diagram(
        diagram.name,
        diagram.level,
        tuple(box for box in diagram.boxes if step[box.key] == 0),
        tuple(cluster for cluster in diagram.clusters if cluster.step == 0),
        tuple(e for e in diagram.edges if not e.delay and step[e.source] == 0),
    )
    one = lay_out(first, "BT")
    pitch = one.width + GAP
    boxes: dict[str, Frame] = {}
    for box in diagram.boxes:
        number = step[box.key]
        if number is not None:
            frame = one.boxes[_first(box.key)]
            boxes[box.key] = replace(frame, x=frame.x + number * pitch)
    clusters = {}
    for cluster in diagram.clusters:
        frame = one.clusters[_first(cluster.key)]
        clusters[cluster.key] = replace(frame, x=frame.x + (cluster.step or 0) * pitch)
    right = (diagram.steps - 1) * pitch + one.width
    left = _place_ends(diagram, boxes, right)
    routes: dict[int, Route] = {}
    inside = {
        (e.source, e.target, e.kind): route
        for e, route in zip(first.edges, one.routes, strict=True)
    }
    across: list[tuple[int, Edge]] = []
    for index, edge in enumerate(diagram.edges):
        number = step[edge.source]
        if edge.delay or number is None:
            across.append((index, edge))
            continue
        route = inside[_first(edge.source), _first(edge.target), edge.kind]
        routes[index] = _moved(route, number * pitch)
    routes |= _across(diagram, boxes, across, step, pitch)
    ordered = tuple(_moved(routes[index], -left) for index in range(len(diagram.edges)))
    widest = max(frame.right for frame in boxes.values())
    lowest = max([one.height, *(frame.bottom for frame in boxes.values())])
    return Layout(
        max(widest, right) - left,
        lowest,
        {key: replace(frame, x=frame.x - left) for key, frame in boxes.items()},
        {key: replace(frame, x=frame.x - left) for key, frame in clusters.items()},
        ordered,
    )


def _step_of(key: str, step: int | None, steps: int) -> int | None:
    return step if step is not None and 0 <= step < steps and "_more_" not in key else None


def _first(key: str) -> str:
    return key.rpartition("_at_")[0] + "_at_0"


def _moved(route: Route, by: float) -> Route:
    return Route(tuple((x + by, y) for x, y in route.points), (route.tip[0] + by, route.tip[1]))


def _place_ends(diagram: Diagram, boxes: dict[str, Frame], right: float) -> float:
    """Put what comes from outside the steps beside them, each level with its own copies."""
    left = 0.0
    taken: list[Frame] = list(boxes.values())
    for box in diagram.boxes:
        if box.key in boxes:
            continue
        wide, high = box_size(box)
        after = box.step is not None and box.step >= diagram.steps
        own = box.key.partition("_at_")[0].partition("_more_")[0] + "_at_0"
        x = right + GAP - 10 + wide / 2 if after else -GAP + 10 - wide / 2
        frame = Frame(x, boxes[own].y, wide, high)
        while any(abs(f.x - frame.x) < 60 and abs(f.y - frame.y) < high + 10 for f in taken):
            frame = replace(frame, y=frame.y + high + 12)
        boxes[box.key] = frame
        taken.append(frame)
        left = min(left, frame.left)
    return left


def _across(
    diagram: Diagram,
    boxes: dict[str, Frame],
    edges: list[tuple[int, Edge]],
    step: dict[str, int | None],
    pitch: float,
) -> dict[int, Route]:
    """Curves between steps. As steps look alike, those between later ones are moved copies."""

    def column(key: str) -> int:
        number = step[key]
        if number is not None:
            return number
        return diagram.steps if boxes[key].x > 0 else -1

    windows: dict[tuple[int, int], list[tuple[int, Edge]]] = {}
    for index, edge in edges:
        ends = column(edge.source), column(edge.target)
        windows.setdefault((min(ends), max(ends)), []).append((index, edge))
    routes: dict[int, Route] = {}
    first: dict[tuple[str, str, int], Route] = {}
    for (low, high), inside in sorted(windows.items()):
        if low > 0 and high < diagram.steps:
            for index, edge in inside:
                route = first[_first(edge.source), _first(edge.target), edge.delay]
                routes[index] = _moved(route, low * pitch)
            continue
        near = {key: frame for key, frame in boxes.items() if low <= column(key) <= high}
        found: dict[int, Route] = {}
        for group in _groups(near, inside):
            found |= _between(*group)
        routes |= found
        if low == 0 and high < diagram.steps:
            for index, edge in inside:
                first[_first(edge.source), _first(edge.target), edge.delay] = found[index]
    return routes


def _groups(
    boxes: dict[str, Frame], edges: list[tuple[int, Edge]]
) -> list[tuple[dict[str, Frame], list[tuple[int, Edge]]]]:
    """The router's time grows faster than the square of its boxes; most are far from an edge."""
    if len(boxes) <= MOST_ROUTED:
        return [(boxes, edges)]
    groups = []
    for index, edge in edges:
        a, b = boxes[edge.source], boxes[edge.target]
        left, right = min(a.left, b.left) - NEAR, max(a.right, b.right) + NEAR
        top, bottom = min(a.top, b.top) - NEAR, max(a.bottom, b.bottom) + NEAR
        area = Frame((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        around = {key: frame for key, frame in boxes.items() if overlap(area, frame)}
        groups.append((around, [(index, edge)]))
    return groups


def _between(boxes: dict[str, Frame], across: list[tuple[int, Edge]]) -> dict[int, Route]:
    """Curves that keep clear of every box, from Graphviz's own router.

    Names and places are relative: steps are alike, and the same question is answered once.
    """
    lines = ["digraph {", 'splines=true; esep="+3"; node [shape=box, fixedsize=true, label=""];']
    names = {key: f"b{number}" for number, key in enumerate(boxes)}
    left = min(frame.x for frame in boxes.values())
    for key, frame in boxes.items():
        lines.append(
            f'{names[key]} [pos="{frame.x - left:.2f},{-frame.y:.2f}", '
            f"width={frame.width / 72:.4f}, height={frame.height / 72:.4f}];"
        )
    for number, (_, edge) in enumerate(across):
        ends = f"{names[edge.source]} -> {names[edge.target]}"
        lines.append(f"{ends} [id={number}, arrowsize=0.6];")
    lines.append("}")
    data: dict[str, Any] = json.loads(arranged("\n".join(lines), "nop"))
    right, down = _shift(data, next(iter(boxes.values())))
    routes = {}
    for item in data["edges"]:
        route = read_route(item["pos"], 0.0, turned=False)
        routes[across[int(item["id"])][0]] = Route(
            tuple((x + right, y + down) for x, y in route.points),
            (route.tip[0] + right, route.tip[1] + down),
        )
    return routes


def _shift(data: dict[str, Any], first: Frame) -> Point:
    """How far an answer has to move: by where the first box was, and by what Graphviz moved it."""
    item = next(item for item in data["objects"] if item["name"] == "b0")
    x, y = (float(n) for n in item["pos"].split(","))
    return first.x - x, first.y + y
