"""Every zoo model at every level: invariants of its diagram."""

from __future__ import annotations

from collections import Counter

import pytest

from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.diagrams.model.diagram import LEVELS, Diagram, Level
from rnnc.runtime.diagrams.model.labels import to_text
from rnnc.runtime.diagrams.model.size_limits import MAX_BOXES
from rnnc.runtime.diagrams.render.dot import to_dot
from rnnc.runtime.diagrams.render.mermaid import to_mermaid
from rnnc.runtime.diagrams.text.drawing import draw_text
from support.diagrams import DELAYS, LAW, draw_diagram, graph_of, zoo_graph

MODELS = [*zoo_names(), "law", "delays"]


def model(name: str) -> OperatorGraph:
    return (
        graph_of({"law": LAW, "delays": DELAYS}[name])
        if name in {"law", "delays"}
        else zoo_graph(name)
    )


def wiring(diagram: Diagram) -> Counter[tuple[str, str, int]]:
    """Count the edges between boxes, with z⁻¹ boxes replaced by delays."""
    stores = {b.key for b in diagram.boxes if b.role in {"past", "future"}}
    into = {e.target: e for e in diagram.edges if e.target in stores}
    counts: Counter[tuple[str, str, int]] = Counter()
    for edge in diagram.edges:
        if edge.target in stores:
            continue
        if edge.source in stores:
            counts[into[edge.source].source, edge.target, into[edge.source].delay] += 1
        else:
            counts[edge.source, edge.target, edge.delay] += 1
    return counts


def check(diagram: Diagram) -> None:
    keys = [box.key for box in diagram.boxes]
    assert len(keys) == len(set(keys))
    assert all(e.source in keys and e.target in keys for e in diagram.edges)
    frames = {cluster.key for cluster in diagram.clusters} | {""}
    assert all(box.cluster in frames for box in diagram.boxes)
    assert all(cluster.parent in frames for cluster in diagram.clusters)
    assert all(key.isidentifier() and key.isascii() for key in [*keys, *(frames - {""})])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_draws_at_every_level_as_text_dot_and_mermaid(name: str, level: Level) -> None:
    graph = model(name)
    diagram = draw_diagram(graph, level, details=("shapes", "params", "depth"))
    check(diagram)
    for render in (draw_text, to_dot, to_mermaid):
        once = render(diagram)
        assert once == render(draw_diagram(graph, level, details=("shapes", "params", "depth")))
        assert once.count("\n") >= 5
    assert draw_text(diagram, ascii_only=True).isascii()
    for variable in (*graph.inputs, *graph.states, *graph.outputs):
        assert any(to_text(b.label).startswith(variable.name[0]) for b in diagram.boxes)


@pytest.mark.parametrize("level", ["operator", "layer", "primitive"])
@pytest.mark.parametrize("name", MODELS)
def test_one_box_holds_each_delayed_value(name: str, level: Level) -> None:
    graph = model(name)
    diagram = draw_diagram(graph, level)
    stores = [b.key for b in diagram.boxes if b.role in {"past", "future"}]
    expected = {(s, d) for s, t, d in graph.edges() if d}
    expected |= {(o.value.node, o.value.delay) for o in graph.outputs if o.value.delay}
    if level != "primitive":  # what only a law reads is left out
        actual = {(e.source, e.delay) for e in diagram.edges if e.delay}
        assert len(actual) == len(stores)
        assert actual <= {(f"n{s}", d) for s, d in expected}
        return
    assert len(stores) == len(expected)
    for edge in diagram.edges:
        if edge.delay:
            assert edge.kind == ("past" if edge.delay > 0 else "future")


@pytest.mark.parametrize("name", MODELS)
def test_the_primitive_level_is_the_operator_graph(name: str) -> None:
    graph = model(name)
    expected = Counter((f"n{s}", f"n{t}", d) for s, t, d in graph.edges())
    for index, output in enumerate(graph.outputs):
        expected[f"n{output.value.node}", f"y{index}", output.value.delay] += 1
    for index, law in enumerate(graph.laws):
        for side in (law.left, law.right):
            expected[f"n{side.node}", f"law{index}", side.delay] += 1
    actual = wiring(draw_diagram(graph, "primitive"))
    assert actual == expected
    planted = expected.copy()
    planted.subtract([next(iter(planted))])
    assert actual != +planted


@pytest.mark.parametrize("level", ["operator", "layer"])
@pytest.mark.parametrize("name", zoo_names())
def test_folding_keeps_every_edge_between_its_boxes(name: str, level: Level) -> None:
    graph = model(name)
    diagram = draw_diagram(graph, level)
    group = {n: b.key for b in diagram.boxes for n in b.members}
    expected = {
        (group[s], group[t], d)
        for s, t, d in graph.edges()
        if s in group and t in group and (group[s] != group[t] or d)
    }
    ends = {b.key for b in diagram.boxes if b.role == "output"}
    assert {edge for edge in wiring(diagram) if edge[1] not in ends} == expected


def test_paper_figures_have_their_operators_as_boxes() -> None:
    diagram = draw_diagram(zoo_graph("srnn"), "operator")
    labels = [to_text(b.label) for b in diagram.boxes if b.role == "operator"]
    assert labels == ["⊕₁", "⊕₂", "▷"]


def test_laws_are_told_below_and_drawn_at_the_primitive_level() -> None:
    graph = graph_of(LAW)
    for level in LEVELS[:2]:
        assert "weight 0.1" in draw_diagram(graph, level).captions[0]
    assert any(b.role == "law" for b in draw_diagram(graph, "primitive").boxes)


def test_a_graph_too_large_to_read_is_folded_and_says_so() -> None:
    source = "\n".join(
        [
            "model tall(layers = 400):",
            "    input x: real[2]",
            "    z_0 = x",
            "    for l in 1..layers:",
            "        state h_l: real[3]",
            "        h_l' = z_{l-1} ⊕_l h_l",
            "        z_l = h_l'",
            "    x' = ▷ z_{layers}",
        ]
    )
    diagram = draw_diagram(graph_of(source), "layer")
    assert "folded to operators" in diagram.captions[0]
    assert len(diagram.boxes) < 4 * 400
    assert len(draw_diagram(graph_of(source), "primitive").boxes) > MAX_BOXES / 2
