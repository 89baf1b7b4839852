"""A diagram laid out in time: several steps side by side, delays as arrows between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from .diagram import Box, Diagram, Edge
from .labels import Label, Run

MOST_STEPS = 12
"""Steps that are drawn side by side; more can no longer be read."""


def unroll(diagram: Diagram, steps: int) -> Diagram:
    """The steps t − 1, t, t + 1, …, what comes from before and goes on after them at the ends."""
    middle = (steps - 1) // 2
    stores = {box.key for box in diagram.boxes if box.role in {"past", "future"}}
    into = {e.target: e for e in diagram.edges if e.target in stores}
    readers = Counter(e.source for e in diagram.edges)
    delayed = {key for key in stores if readers[key] == 1}  # drawn as one arrow, without a box
    by_key = diagram.by_key
    boxes: dict[str, Box] = {}
    edges: list[Edge] = []
    for step in range(steps):
        for box in diagram.boxes:
            if box.key not in delayed:
                boxes[at(box.key, step)] = _copy(box, step, step - middle)
    for step in range(steps):
        for edge in diagram.edges:
            if edge.target in delayed:
                continue
            if edge.source not in delayed and not edge.delay:
                edges.append(
                    replace(edge, source=at(edge.source, step), target=at(edge.target, step))
                )
                continue
            store = edge if edge.delay else into[edge.source]
            origin = step - store.delay
            source = at(store.source, origin)
            if source not in boxes:  # from before the first step, or after the last
                boxes[source] = _outside(by_key[store.source], origin, origin - middle, store)
            edges.append(
                replace(edge, source=source, target=at(edge.target, step), delay=store.delay)
            )
    for store in into.values():
        forward = store.delay > 0
        last = steps - 1 if forward else 0
        key = f"{store.source}_more_{'after' if forward else 'before'}"
        if key not in boxes:
            role = by_key[store.target].role
            boxes[key] = Box(key, role, (Run("…"),), step=steps if forward else -1)
            edges.append(
                replace(store, source=at(store.source, last), target=key, marked=False, label="")
            )
    clusters = tuple(
        replace(
            cluster,
            key=at(cluster.key, step),
            parent=at(cluster.parent, step) if cluster.parent else "",
            step=step,
        )
        for step in range(steps)
        for cluster in diagram.clusters
    )
    return replace(
        diagram, boxes=tuple(boxes.values()), clusters=clusters, edges=tuple(edges), steps=steps
    )


def at(key: str, step: int) -> str:
    """The key of a box's copy at a step."""
    return f"{key}_at_{step}" if step >= 0 else f"{key}_at_before{-step}"


def _copy(box: Box, step: int, time: int) -> Box:
    label = box.label
    if box.role in {"input", "state", "output"}:
        if box.role == "output" and label[-1].text == "′":  # x′ is the next step's x
            label, time = label[:-1], time + 1
        label = _timed(label, time)
    cluster = at(box.cluster, step) if box.cluster else ""
    return replace(box, key=at(box.key, step), label=label, cluster=cluster, step=step)


def _outside(box: Box, step: int, time: int, store: Edge) -> Box:
    return Box(
        at(box.key, step),
        "past" if store.delay > 0 else "future",
        _timed(box.label, time),
        members=box.members,
        step=step,
        details=box.details,
        place=box.place,
    )


def _timed(label: Label, time: int) -> Label:
    moment = "t" if time == 0 else f"t{time:+d}".replace("-", "−")
    if label and label[-1].style == "below":
        return (*label, Run(f",{moment}", "time"))
    return (*label, Run(moment, "time"))
