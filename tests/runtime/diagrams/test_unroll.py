"""Unrolled diagrams are equivalent to the rolled-up one, step by step."""

from __future__ import annotations

from collections import Counter

import pytest

from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.diagrams.model.diagram import Diagram
from rnnc.runtime.diagrams.model.labels import to_text
from support.diagrams import DELAYS, draw_diagram, graph_of, zoo_graph


def between_steps(diagram: Diagram) -> Counter[tuple[str, int, str, int]]:
    """Count edges (source, its step, target, its step) between variables, without relays."""

    def split(key: str) -> tuple[str, int]:
        base, _, step = key.rpartition("_at_")
        return base, -int(step[6:]) if step.startswith("before") else int(step)

    relays = {b.key for b in diagram.boxes if b.key.startswith("z")}
    into = {e.target: e.source for e in diagram.edges if e.target in relays}
    counts: Counter[tuple[str, int, str, int]] = Counter()
    for edge in diagram.edges:
        if edge.target in relays or "_more_" in edge.target:
            continue
        source = into.get(edge.source, edge.source)
        counts[*split(source), *split(edge.target)] += 1
    return counts


@pytest.mark.parametrize("level", ["operator", "layer"])
@pytest.mark.parametrize("name", [*zoo_names(), "delays"])
def test_every_copy_reads_what_the_rolled_one_reads(name: str, level: str) -> None:
    graph: OperatorGraph = graph_of(DELAYS) if name == "delays" else zoo_graph(name)
    rolled = draw_diagram(graph, level)  # type: ignore[arg-type]
    stores = {e.target: e for e in rolled.edges if e.delay}
    expected: Counter[tuple[str, int, str, int]] = Counter()
    for step in range(3):
        for edge in rolled.edges:
            if edge.target in stores:
                continue
            store = stores.get(edge.source)
            if store:
                expected[store.source, step - store.delay, edge.target, step] += 1
            else:
                expected[edge.source, step, edge.target, step] += 1
    unrolled = draw_diagram(graph, level, steps=3)  # type: ignore[arg-type]
    actual = between_steps(unrolled)
    assert actual == expected
    actual.subtract([next(iter(actual))])
    assert +actual != expected


def test_steps_are_named_as_in_the_paper() -> None:
    diagram = draw_diagram(zoo_graph("rnn"), "operator", steps=3)
    labels = [to_text(b.label) for b in diagram.boxes if b.role in {"input", "output"}]
    assert labels[:2] == ["x[t-1]", "x[t]"]
    assert [label for label in labels if label == "x[t+1]"]
    assert labels.count("x[t+2]") == 1


def test_backward_states_come_from_the_right() -> None:
    diagram = draw_diagram(zoo_graph("bilstm"), "operator", steps=2)
    kinds = {edge.kind for edge in diagram.edges if edge.delay}
    assert kinds == {"past", "future"}
