"""Layouts: nothing overlaps, labels fit, and no curve runs through another box."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.diagrams.layout.box_sizes import LABEL_SIZE, NOTE_SIZE, label_width
from rnnc.runtime.diagrams.layout.choose_layout import choose_layout
from rnnc.runtime.diagrams.layout.geometry import DiagramLayout, Rect, sample_points
from rnnc.runtime.diagrams.layout.place_labels import place_labels, rects_overlap
from rnnc.runtime.diagrams.model.diagram import Diagram
from support.diagrams import draw_diagram, zoo_graph

DRAWN = ["dts_rnn", "dot_rnn", "srnn", "lstm"]


def crossings(diagram: Diagram, layout: DiagramLayout) -> list[tuple[str, str, str]]:
    """Return every (source, target, box) with a curve point inside a foreign box."""
    pairs = []
    for edge, route in zip(diagram.edges, layout.routes, strict=True):
        points = list(sample_points(route, 1.0))
        left, right = min(x for x, _ in points), max(x for x, _ in points)
        top, bottom = min(y for _, y in points), max(y for _, y in points)
        area = Rect((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        for key, frame in layout.boxes.items():
            if key in {edge.source, edge.target} or not rects_overlap(area, frame):
                continue
            inner = Rect(frame.x, frame.y, frame.width - 1, frame.height - 1)
            if any(
                inner.left < x < inner.right and inner.top < y < inner.bottom for x, y in points
            ):
                pairs.append((edge.source, edge.target, key))
    return pairs


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("level", ["operator", "layer", "plan"])
@pytest.mark.parametrize("name", DRAWN)
def test_no_curve_crosses_a_box_and_nothing_overlaps(name: str, level: str, steps: int) -> None:
    if level == "plan" and steps:
        level = "primitive"
    diagram = draw_diagram(zoo_graph(name), level, steps=steps)  # type: ignore[arg-type]
    layout = choose_layout(diagram)
    assert crossings(diagram, layout) == []
    frames = list(layout.boxes.values())
    assert not any(rects_overlap(a, b) for i, a in enumerate(frames) for b in frames[i + 1 :])
    for frame in frames:
        assert frame.left >= -1
        assert frame.right <= layout.width + 1
        assert frame.top >= -1
        assert frame.bottom <= layout.height + 1


@pytest.mark.parametrize("name", sorted({*zoo_names()} - {*DRAWN}))
def test_no_curve_crosses_a_box_in_the_rest_of_the_zoo(name: str) -> None:
    for steps in (0, 2):
        diagram = draw_diagram(zoo_graph(name), "layer", steps=steps)
        assert crossings(diagram, choose_layout(diagram)) == []


@pytest.mark.parametrize("name", DRAWN)
def test_curves_end_at_their_boxes(name: str) -> None:
    for steps in (0, 3):
        diagram = draw_diagram(zoo_graph(name), "layer", steps=steps)
        layout = choose_layout(diagram)
        for edge, route in zip(diagram.edges, layout.routes, strict=True):
            for key, (x, y) in ((edge.source, route.points[0]), (edge.target, route.tip)):
                frame = layout.boxes[key]
                assert abs(x - frame.x) <= frame.width / 2 + 6
                assert abs(y - frame.y) <= frame.height / 2 + 6


@pytest.mark.parametrize("level", ["operator", "layer", "primitive", "plan"])
@pytest.mark.parametrize("name", DRAWN)
def test_labels_fit_their_boxes(name: str, level: str) -> None:
    diagram = draw_diagram(
        zoo_graph(name),
        level,  # type: ignore[arg-type]
        details=("shapes", "params"),
    )
    layout = choose_layout(diagram)
    for box in diagram.boxes:
        frame = layout.boxes[box.key]
        lines = [
            label_width(box.label, LABEL_SIZE),
            *(label_width(note, NOTE_SIZE) for note in box.notes),
        ]
        assert max(lines) <= frame.width - 4, box
        assert 12 * len(lines) <= frame.height, box
    labels = place_labels(diagram, layout)
    texts = [*labels.clusters.values(), *labels.edges.values()]
    assert not any(rects_overlap(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :])
    assert not any(
        rects_overlap(a, b) for a in labels.edges.values() for b in layout.boxes.values()
    )
    curves = [point for route in layout.routes for point in sample_points(route, 2.0)]
    for label in labels.edges.values():
        assert not [
            (x, y)
            for x, y in curves
            if label.left < x < label.right and label.top < y < label.bottom
        ]


def test_the_operators_stand_from_left_to_right() -> None:
    diagram = draw_diagram(zoo_graph("srnn"), "layer")
    layout = choose_layout(diagram)
    lefts = [layout.clusters[cluster.key].left for cluster in diagram.clusters]
    assert lefts == sorted(lefts)


def test_steps_look_alike_and_stand_side_by_side() -> None:
    diagram = draw_diagram(zoo_graph("dts_rnn"), "layer", steps=3)
    boxes = choose_layout(diagram).boxes
    for key, frame in boxes.items():
        if not key.endswith("_at_0"):
            continue
        second, third = (boxes[key.removesuffix("0") + step] for step in "12")
        assert math.isclose(second.y, frame.y)
        assert math.isclose(third.x - second.x, second.x - frame.x, abs_tol=0.01)
        assert second.x > frame.x


def test_a_box_pushed_under_a_curve_is_noticed() -> None:
    diagram = draw_diagram(zoo_graph("dts_rnn"), "layer")
    layout = choose_layout(diagram)
    long = max(range(len(diagram.edges)), key=lambda i: len(layout.routes[i].points))
    x, y = list(sample_points(layout.routes[long]))[8]
    ends = {diagram.edges[long].source, diagram.edges[long].target}
    key = next(k for k in layout.boxes if k not in ends)
    moved = {**layout.boxes, key: replace(layout.boxes[key], x=x, y=y)}
    assert crossings(diagram, replace(layout, boxes=moved))


def test_the_layout_is_the_same_each_time() -> None:
    diagram = draw_diagram(zoo_graph("lstm"), "layer")
    assert choose_layout(diagram) == choose_layout(diagram)
