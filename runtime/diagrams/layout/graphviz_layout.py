"""Compute coordinates of a diagram with Graphviz (Gansner et al. 1993), through pygraphviz.

Graphviz sees boxes of fixed sizes and no text, so that the result depends on no font.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from rnnc.grammar.diagnostics.errors import fail
from rnnc.runtime.diagrams.model.diagram import Diagram, Edge

from .box_sizes import box_size
from .geometry import DiagramLayout, Direction, EdgeRoute, Point, Rect

MISSING_GRAPHVIZ: Final = "RNN650"


def compute_layout(diagram: Diagram, direction: Direction = "LR") -> DiagramLayout:
    """Compute coordinates in points.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    return _parse_layout(
        diagram, json.loads(run_graphviz(to_layout_dot(diagram, direction), "dot"))
    )


@lru_cache(maxsize=64)
def run_graphviz(text: str, engine: str) -> bytes:
    """Run a Graphviz engine and return its JSON; cached, since unrolled steps ask alike."""
    pygraphviz = import_pygraphviz()
    with silence_stderr():
        data: bytes = pygraphviz.AGraph(string=text).draw(format="json0", prog=engine)
    return data


def import_pygraphviz() -> Any:
    """Import pygraphviz.

    Raises:
        RnnError: RNN650, when it is not installed.
    """
    try:
        import pygraphviz
    except ImportError:
        fail(
            MISSING_GRAPHVIZ,
            "drawing this needs pygraphviz, which is not installed",
            hint="`pip install 'rnnc[draw]'` brings it (and Graphviz) along; text, DOT and "
            "Mermaid need no package",
        )
    return pygraphviz


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Drop what Graphviz's C libraries print on standard error (about fonts)."""
    try:
        sys.stderr.flush()
        saved_stderr = os.dup(2)
    except (OSError, ValueError, AttributeError):
        yield
        return
    try:
        with open(os.devnull, "wb") as null_device:
            os.dup2(null_device.fileno(), 2)
        yield
    finally:
        os.dup2(saved_stderr, 2)
        os.close(saved_stderr)


def to_layout_dot(diagram: Diagram, direction: Direction) -> str:
    """Write the DOT input of the layout: sizes, frames, edges with delays reversed."""
    lines = [
        "digraph {",
        f"rankdir={direction}; newrank=true; nodesep=0.2; ranksep=0.38; splines=true; mclimit=6;",
        'node [shape=box, fixedsize=true, label=""]; edge [arrowsize=0.6];',
    ]
    contents = diagram.cluster_contents()
    gates = _find_gates(diagram)

    def write(parent: str) -> None:
        boxes_by_gate: dict[str, list[str]] = {}
        for box in contents[parent].boxes:
            width, height = box_size(box)
            shape = "ellipse" if box.role == "point" else "box"
            size = f"width={width / 72:.4f}, height={height / 72:.4f}"
            node = f"{box.key} [{size}, shape={shape}];"
            boxes_by_gate.setdefault(gates.get(box.key, ""), []).append(node)
        lines.extend(boxes_by_gate.pop("", []))
        for gate, boxes in boxes_by_gate.items():
            lines.extend([f"subgraph cluster_gate_{gate} {{ margin=0;", *boxes, "}"])
        for cluster in contents[parent].clusters:
            lines.append(f"subgraph cluster_{cluster.key} {{ margin=20;")
            write(cluster.key)
            lines.append("}")

    write("")
    for index, edge in enumerate(diagram.edges):
        lines.append(_edge(index, edge))
    lines.append("}")
    return "\n".join(lines)


def _find_gates(diagram: Diagram) -> dict[str, str]:
    """Map each box of a gate to the gate's key, for cells with several gates.

    A gate is a function whose weights have no other reader and read nothing from inside its cell.
    Graphviz keeps the boxes of each gate together.
    """
    boxes = diagram.boxes_by_key
    readers: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for edge in diagram.edges:
        readers.setdefault(edge.source, []).append(edge.target)
        sources.setdefault(edge.target, []).append(edge.source)
    gates: dict[str, dict[str, list[str]]] = {}
    for box in diagram.boxes:
        weights = [boxes[key] for key in sources.get(box.key, []) if boxes[key].role == "map"]
        is_gate = all(
            len(readers[m.key]) == 1
            and m.cluster == box.cluster
            and all(boxes[key].cluster != box.cluster for key in sources.get(m.key, []))
            for m in weights
        )
        if box.role == "unit" and box.cluster and len(weights) > 1 and is_gate:
            gates.setdefault(box.cluster, {})[box.key] = [m.key for m in weights]
    return {
        member: gate
        for cell in gates.values()
        if len(cell) > 1
        for gate, weights in cell.items()
        for member in (*weights, gate)
    }


def _edge(index: int, edge: Edge) -> str:
    if edge.delay:  # drawn from the variable to its z⁻¹, but ranked in reverse
        return f"{edge.target} -> {edge.source} [dir=back, id={index}, weight=1];"
    return f"{edge.source} -> {edge.target} [id={index}, weight=2];"


def _parse_layout(diagram: Diagram, data: dict[str, Any]) -> DiagramLayout:
    _, _, width, height = (float(n) for n in data["bb"].split(","))
    boxes: dict[str, Rect] = {}
    clusters: dict[str, Rect] = {}
    for item in data.get("objects", []):
        if item["name"].startswith("cluster_gate_"):
            continue
        if item["name"].startswith("cluster_"):
            left, low, right, up = (float(n) for n in item["bb"].split(","))
            clusters[item["name"].removeprefix("cluster_")] = Rect(
                (left + right) / 2, height - (low + up) / 2, right - left, up - low
            )
        elif "pos" in item:
            x, y = (float(n) for n in item["pos"].split(","))
            boxes[item["name"]] = Rect(
                x, height - y, 72 * float(item["width"]), 72 * float(item["height"])
            )
    routes: dict[int, EdgeRoute] = {}
    for item in data.get("edges", []):
        index = int(item["id"])
        routes[index] = parse_route(item["pos"], height, reverse=bool(diagram.edges[index].delay))
    ordered = tuple(routes[index] for index in range(len(diagram.edges)))
    return DiagramLayout(width, height, boxes, clusters, ordered)


def parse_route(text: str, height: float, *, reverse: bool) -> EdgeRoute:
    """Parse a Graphviz curve; `reverse` if the arrow is at its start."""
    tip: Point | None = None
    points: list[Point] = []
    for part in text.split(";")[0].split():
        marker = part[:2] if part[0] in "es" else ""
        x, y = (float(n) for n in part.removeprefix(marker).split(","))
        if marker:
            tip = (x, height - y)
        else:
            points.append((x, height - y))
    if reverse:
        points.reverse()
    return EdgeRoute(tuple(points), tip or points[-1])
