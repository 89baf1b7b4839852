"""Unroll a diagram in time: several steps side by side, delays as arrows between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from .diagram import Box, Diagram, Edge
from .labels import Label, TextRun

MAX_STEPS = 12
"""Steps in one drawing; more are unreadable."""


def unroll(diagram: Diagram, steps: int) -> Diagram:
    """Copy a diagram for steps t − 1, t, t + 1, …, with boundary boxes at both ends."""
    middle = (steps - 1) // 2
    delay_keys = {box.key for box in diagram.boxes if box.role in {"past", "future"}}
    delay_edges = {e.target: e for e in diagram.edges if e.target in delay_keys}
    readers = Counter(e.source for e in diagram.edges)
    inlined_delays = {
        key for key in delay_keys if readers[key] == 1
    }  # with one reader: drawn as an arrow without a box
    by_key = diagram.boxes_by_key
    boxes: dict[str, Box] = {}
    edges: list[Edge] = []
    for step in range(steps):
        for box in diagram.boxes:
            if box.key not in inlined_delays:
                boxes[step_key(box.key, step)] = _copy_to_step(box, step, step - middle)
    for step in range(steps):
        for edge in diagram.edges:
            if edge.target in inlined_delays:
                continue
            if edge.source not in inlined_delays and not edge.delay:
                edges.append(
                    replace(
                        edge, source=step_key(edge.source, step), target=step_key(edge.target, step)
                    )
                )
                continue
            delay_edge = edge if edge.delay else delay_edges[edge.source]
            origin = step - delay_edge.delay
            source = step_key(delay_edge.source, origin)
            if source not in boxes:  # before the first step, or after the last
                boxes[source] = _boundary_box(
                    by_key[delay_edge.source], origin, origin - middle, delay_edge
                )
            edges.append(
                replace(
                    edge, source=source, target=step_key(edge.target, step), delay=delay_edge.delay
                )
            )
    for delay_edge in delay_edges.values():
        forward = delay_edge.delay > 0
        last = steps - 1 if forward else 0
        key = f"{delay_edge.source}_more_{'after' if forward else 'before'}"
        if key not in boxes:
            role = by_key[delay_edge.target].role
            boxes[key] = Box(key, role, (TextRun("…"),), step=steps if forward else -1)
            edges.append(
                replace(
                    delay_edge,
                    source=step_key(delay_edge.source, last),
                    target=key,
                    highlighted=False,
                    label="",
                )
            )
    clusters = tuple(
        replace(
            cluster,
            key=step_key(cluster.key, step),
            parent=step_key(cluster.parent, step) if cluster.parent else "",
            step=step,
        )
        for step in range(steps)
        for cluster in diagram.clusters
    )
    return replace(
        diagram, boxes=tuple(boxes.values()), clusters=clusters, edges=tuple(edges), steps=steps
    )


def step_key(key: str, step: int) -> str:
    """Return the key of a box's copy at a step."""
    return f"{key}_at_{step}" if step >= 0 else f"{key}_at_before{-step}"


def _copy_to_step(box: Box, step: int, time: int) -> Box:
    label = box.label
    if box.role in {"input", "state", "output"}:
        if box.role == "output" and label[-1].text == "′":  # x′ is x of the next step
            label, time = label[:-1], time + 1
        label = _time_label(label, time)
    cluster = step_key(box.cluster, step) if box.cluster else ""
    return replace(box, key=step_key(box.key, step), label=label, cluster=cluster, step=step)


def _boundary_box(box: Box, step: int, time: int, store: Edge) -> Box:
    return Box(
        step_key(box.key, step),
        "past" if store.delay > 0 else "future",
        _time_label(box.label, time),
        members=box.members,
        step=step,
        details=box.details,
        location=box.location,
    )


def _time_label(label: Label, time: int) -> Label:
    time_text = "t" if time == 0 else f"t{time:+d}".replace("-", "−")
    if label and label[-1].style == "below":
        return (*label, TextRun(f",{time_text}", "time"))
    return (*label, TextRun(time_text, "time"))
