"""Diagrams without coordinates: boxes, the clusters around them, and edges with delays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from .labels import Label

Level = Literal["operator", "layer", "primitive", "plan"]
LEVELS: Final[tuple[Level, ...]] = ("operator", "layer", "primitive", "plan")

BoxRole = Literal[
    "input", "state", "output", "operator", "map", "unit", "point", "value", "law", "past", "future"
]
"""The kind of object that a box represents.

input, state, output: variables; operator: a whole application; map: a product with a weight;
unit: a function; point: elementwise arithmetic; value: a parameter or constant; law: a soft
equation; past, future: a value kept for later steps (z⁻¹), or taken from later ones (z⁺¹).
"""

EdgeKind = Literal["flow", "past", "future"]
"""An edge within a step (flow), to later steps (past) or to earlier steps (future)."""


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A span of a spec, lines and columns from 1; `text` holds the lines, dedented."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """One node of a diagram.

    `key` is unique, ASCII and stable; `members` are its nodes of the operator graph, `parameters`
    the names of its parameters; `step` is its time in an unrolled diagram; `details` are shown on
    demand.
    """

    key: str
    role: BoxRole
    label: Label
    notes: tuple[Label, ...] = ()
    cluster: str = ""
    members: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    step: int | None = None
    details: tuple[tuple[str, str], ...] = ()
    location: SourceLocation | None = None
    highlighted: bool = False


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame around boxes: an application of an operator, or a phase of the plan."""

    key: str
    label: Label
    parent: str = ""
    details: tuple[tuple[str, str], ...] = ()
    location: SourceLocation | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A value passed between boxes; `delay` is in steps, negative for earlier steps.

    The edge from a variable to its z⁻¹ box carries the delay, the edges from there on none.
    `members` are the edges (source, target, delay) of the operator graph that it stands for.
    """

    source: str
    target: str
    delay: int = 0
    kind: EdgeKind = "flow"
    label: str = ""
    members: tuple[tuple[int, int, int], ...] = ()
    highlighted: bool = False


class ClusterContents(NamedTuple):
    """Boxes and clusters directly in a cluster, in the diagram's order."""

    boxes: list[Box]
    clusters: list[Cluster]


@dataclass(frozen=True, slots=True)
class Diagram:
    """A model at one level of detail; boxes are in order of computation."""

    name: str
    level: Level
    boxes: tuple[Box, ...]
    clusters: tuple[Cluster, ...]
    edges: tuple[Edge, ...]
    captions: tuple[str, ...] = ()
    steps: int = 0

    @property
    def boxes_by_key(self) -> dict[str, Box]:
        """Boxes by their key."""
        return {box.key: box for box in self.boxes}

    def cluster_contents(self) -> dict[str, ClusterContents]:
        """Return the direct contents of each cluster by key; the top level has the empty key."""
        by_cluster = {key: ClusterContents([], []) for key in ("", *(c.key for c in self.clusters))}
        for cluster in self.clusters:
            by_cluster[cluster.parent].clusters.append(cluster)
        for box in self.boxes:
            by_cluster[box.cluster].boxes.append(box)
        return by_cluster
