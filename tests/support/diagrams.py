"""Operator graphs and diagrams of zoo models and of inline specs."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pygraphviz

from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_source
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram
from rnnc.runtime.diagrams.model.annotations import Detail
from rnnc.runtime.diagrams.model.diagram import Diagram, Level

LAW = """\
input x: binary[88]
state h: real[100]
h' = x ⊕ h
x' = ▷ h'
law x ⊕ (x[t-1] ⊕ h) ≈ x[t-1] ⊕ (x ⊕ h) weight 0.1
"""

DELAYS = """\
operator mlp(z: real[n], w: real[m]) = tanh(A z + relu(B w + b1) + b)
operator x ⊕ h = mlp(x, h)
input x: real[3]
state h: real[64] = learned
state g: real[8]
h' = 0.5 * (x ⊕ h) + 0.5 * dropout(0.5, h)
g[t] = x ⊕_2 g[t+1]
output y: real[2] at end
y = softmax(V h[t-2] + M h' + N g' + O x[t-3])
"""


@cache
def zoo_graph(name: str) -> OperatorGraph:
    """Return the graph of a zoo model."""
    return analyze(zoo_source(name)).require_graph()


def graph_of(text: str, name: str = "model") -> OperatorGraph:
    """Return the graph of a spec's text."""
    return analyze(Source(text, name)).require_graph()


def draw_diagram(
    graph: OperatorGraph,
    level: Level = "layer",
    *,
    steps: int = 0,
    details: tuple[Detail, ...] = ("shapes",),
    measure: str | None = None,
) -> Diagram:
    """Build a model's diagram."""
    return build_diagram(graph, DiagramView(level, steps, details, measure))


def parse_edges(source: str) -> Counter[tuple[str, str, int]]:
    """Return the edges (source, target, delay) that Graphviz reads in a DOT file."""
    drawing = pygraphviz.AGraph(string=source)
    return Counter((e[0], e[1], int(e.attr["delay"])) for e in drawing.edges())


def diagram_edges(diagram: Diagram) -> Counter[tuple[str, str, int]]:
    """Return the edges (source, target, delay) of a diagram."""
    return Counter((e.source, e.target, e.delay) for e in diagram.edges)
