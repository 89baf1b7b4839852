# ruff: noqa: E501
"""Depths compared with the worked values of both papers, and with the unfolded network."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest

from rnnc.grammar.source import Source
from rnnc.operators.analysis import depth as depths
from rnnc.operators.analysis.depth import measure_depth
from rnnc.operators.analysis.summary import summarize
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_source
from support.generator import random_spec
from support.line_counts import count_lines, superlinear_functions

IN, HID, OUT = 88, 400, 88


def graph_of(text: str, **sizes: int) -> OperatorGraph:
    return analyze(Source(text), parameters=sizes).require_graph()


def transition(
    x: int, hidden: int, *, shortcut: bool, output: int = 0, kind: str = "binary"
) -> str:
    second = "W2 z + S h + Q x + b2" if shortcut else "W2 z + b2"
    deep = f"operator ▷ h:\n    z: real[{output}] = relu(V1 h + b1)\n    V2 z + b2\n"
    return f"""
operator x ⊕ h:
    z: real[{hidden}] = tanh(W1 h + U1 x + b1)
    tanh({second})
{deep if output else ""}
input x: {kind}[{x}]
state h: real[{hidden}]
h' = x ⊕ h
x' = ▷ h'
"""


def plain(x: int, hidden: int, kind: str = "binary") -> str:
    return f"input x: {kind}[{x}]\nstate h: real[{hidden}]\nh' = x ⊕ h\nx' = ▷ h'\n"


def stacked(x: int, hidden: int, layers: int = 2, kind: str = "binary") -> str:
    return f"""
input x: {kind}[{x}]
z_0 = x
for l in 1..{layers}:
    state h_l: real[{hidden}]
    h_l' = z_{{l-1}} ⊕_l h_l
    z_l = h_l'
x' = ▷ z_{layers}
"""


def extra(update: str, output: str = "x' = ▷ h'") -> str:
    return f"input x: real[4]\nstate h: real[4]\nh' = {update}\n{output}\n"


TOP_DOWN = """
input x: real[4]
state h_1, h_2: real[4]
h_1' = tanh(W1 h_1 + U1 x + T h_2)
h_2' = tanh(W2 h_2 + U2 h_1')
x' = ▷ h_2'
"""
OUTPUT = "operator ▷ h:\n    z: real[4] = relu(V1 h + b1)\n    V2 z + b2\n"

# Pascanu et al. 2014: input-to-hidden, hidden-to-hidden, hidden-to-output; Zhang et al. 2016:
# recurrent depth, feedforward depth, recurrent skip coefficient.
WORKED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "RNN": (plain(4, 4), (1, 1, 1, 1, 2, 1)),
    "DT": (transition(4, 4, shortcut=False), (2, 2, 1, 2, 3, Fraction(1, 2))),
    "DT(S)": (transition(4, 4, shortcut=True), (2, 2, 1, 2, 3, 1)),
    "DO": (OUTPUT + plain(4, 4), (1, 1, 2, 1, 3, 1)),
    "DOT(S)": (transition(4, 4, shortcut=True, output=4), (2, 2, 2, 2, 4, 1)),
    "sRNN": (stacked(4, 4), (2, 1, 1, 1, 3, 1)),
    "top-down": (TOP_DOWN, (2, 2, 1, 2, 3, 1)),
    "delay of three": (extra("tanh(W h + U x + V h[t-3])"), (1, 1, 1, 1, 2, 3)),
    "diagonal": (f"param u: diagonal\n{extra('tanh(u h + U x)')}", (1, 0, 1, 0, 2, None)),
    "no learned matrix": (extra("0.5 * h + 0.5 * x"), (0, 0, 1, 0, 1, None)),
    "no recurrence": (extra("tanh(U x)"), (1, 0, 1, 0, 2, 0)),
    "frozen counts": (f"param W: frozen\n{extra('tanh(W h + U x)')}", (1, 1, 1, 1, 2, 1)),
    "symbols": ("input x: symbol[4]\nstate h: real[4]\nh' = x ⊕ h\nx' = ▷ h'\n", (1, 1, 1, 1, 2, 1)),
    "half": (extra("tanh(W h[t-2] + U x)"), (1, 1, 1, Fraction(1, 2), 2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKED)
def test_worked_values(name: str) -> None:
    text, values = WORKED[name]
    depth = measure_depth(graph_of(text))
    assert (
        depth.input_to_hidden,
        depth.hidden_to_hidden,
        depth.hidden_to_output,
        depth.recurrent_depth,
        depth.feedforward_depth,
        depth.skip_coefficient,
    ) == values


def test_an_infinite_skip_coefficient_is_a_word() -> None:
    assert summarize(graph_of(WORKED["no learned matrix"][0]))["depth"]["skip_coefficient"] == "inf"


def edges_of(graph: OperatorGraph) -> list[tuple[int, int, int, int]]:
    """Return (source, target, learned matrices, delay) for all edges, nodes of weights left out."""
    edges: list[tuple[int, int, int, int]] = []
    for node in graph.nodes:
        length = 0
        if node.operation in {"matmul", "lookup"}:
            weight = graph.nodes[node.operands[0].node]
            length = int(
                graph.parameters_by_name[str(weight.attributes[0])].form in {"matrix", "blocks"}
            )
        edges += [(o.node, node.id, length, abs(o.delay)) for o in node.operands]
    return edges


def unfolded(graph: OperatorGraph, steps: int, *, longest: bool) -> list[dict[int, int]]:
    """The extreme number of matrices from one input step to every node of each later step."""
    order = [n for component in _instant(graph) for n in component]
    incoming: dict[int, list[tuple[int, int, int]]] = {}
    for source, target, length, delay in edges_of(graph):
        incoming.setdefault(target, []).append((source, length, delay))
    choose = max if longest else min
    best: list[dict[int, int]] = []
    for t in range(steps):
        now: dict[int, int] = {}
        best.append(now)
        if t == 0:
            now.update({variable.node: 0 for variable in graph.inputs})
        for node in order:
            reached = [
                best[t - delay][source] + length
                for source, length, delay in incoming.get(node, [])
                if t >= delay and source in best[t - delay]
            ]
            if reached:
                now[node] = choose([*reached, now[node]] if node in now else reached)
    return best


def _instant(graph: OperatorGraph) -> list[list[int]]:
    finished: set[int] = set()
    rounds: list[list[int]] = []
    waiting = {n.id for n in graph.nodes}
    while waiting:
        ready = [
            n
            for n in sorted(waiting)
            if all(o.delay or o.node in finished for o in graph.nodes[n].operands)
        ]
        rounds.append(ready)
        finished |= set(ready)
        waiting -= set(ready)
    return rounds


def compare_with_unfolding(graph: OperatorGraph) -> bool:
    """Whether there was anything to compare; asserts that it agrees."""
    depth = measure_depth(graph)
    if not graph.recurrent_nodes or graph.backward_nodes or depth.skip_coefficient is None:
        return False
    steps = 60
    rounds = 60 // (6 * max(1, max(s.delay for s in graph.states)))
    longest = unfolded(graph, steps, longest=True)
    ends = [output.value for output in graph.outputs]
    best: Fraction | None = None
    for t in range(steps):
        for end in ends:
            if t >= end.delay and end.node in longest[t - end.delay]:
                value = longest[t - end.delay][end.node] - t * depth.recurrent_depth
                best = value if best is None else max(best, value)
    assert best == depth.feedforward_depth
    slopes: list[float] = []
    for node in graph.recurrent_nodes:
        slope = [r[node] for r in longest if node in r]
        if len(slope) > steps - 10:
            slopes.append((slope[-1] - slope[0]) / len(slope))
            assert slopes[-1] <= float(depth.recurrent_depth) + 1 / rounds
    # Some cycle is as deep as that, but for the steps in which it has not yet begun to count.
    assert not slopes or max(slopes) >= float(depth.recurrent_depth) * (1 - 12 / steps)
    return True


def test_feedforward_and_recurrent_depth_are_those_of_the_unfolded_network() -> None:
    compared = sum(compare_with_unfolding(graph_of(text)) for text, _ in WORKED.values())
    for seed in range(200):
        spec = random_spec(seed)
        compared += compare_with_unfolding(graph_of(spec.text, **spec.sizes))
    assert compared > 20


@pytest.mark.parametrize("name", WORKED)
def test_slopes_of_the_unfolded_network(name: str) -> None:
    graph = graph_of(WORKED[name][0])
    depth = measure_depth(graph)
    steps = 61
    longest, shortest = (unfolded(graph, steps, longest=flag) for flag in (True, False))
    state = graph.states[-1].node
    if state not in graph.recurrent_nodes:
        return
    assert Fraction(longest[60][state] - longest[12][state], 48) == depth.recurrent_depth
    slope = Fraction(shortest[60][state] - shortest[12][state], 48)
    assert depth.skip_coefficient == (1 / slope if slope else None)


@pytest.mark.parametrize("wrong", ["ratio", "feedforward"])
def test_a_planted_fault_is_caught(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if wrong == "ratio":
        true_ratio = depths.extreme_cycle_ratio
        monkeypatch.setattr(
            depths, "extreme_cycle_ratio", lambda edges, sign: true_ratio(edges, sign=sign) + 1
        )
    else:
        monkeypatch.setattr(depths, "_feedforward", lambda *arguments: Fraction(9))
    with pytest.raises(AssertionError):
        test_feedforward_and_recurrent_depth_are_those_of_the_unfolded_network()


# Table 1 of Pascanu et al. 2014: RNN, DT(S), DOT(S), sRNN, in weights without biases.
TABLE_1 = [
    ("Nottingham", "binary", 88, (600,), 465_600), ("Nottingham", "binary", 88, (400, 400), 585_600),
    ("Nottingham", "binary", 88, (400, 400, 400), 745_600), ("Nottingham", "binary", 88, 400, 550_400),
    ("JSB", "binary", 88, (200,), 75_200), ("JSB", "binary", 88, (400, 400), 585_600),
    ("JSB", "binary", 88, (400, 400, 400), 745_600), ("JSB", "binary", 88, 400, 550_400),
    ("MuseData", "binary", 88, (600,), 465_600), ("MuseData", "binary", 88, (400, 400), 585_600),
    ("MuseData", "binary", 88, (400, 400, 400), 745_600), ("MuseData", "binary", 88, 600, 1_185_600),
    ("char", "symbol", 50, (600,), 420_000), ("char", "symbol", 50, (400, 400), 540_000),
    ("char", "symbol", 50, (400, 400, 600), 790_000), ("char", "symbol", 50, 400, 520_000),
    ("word", "symbol", 10_000, (200,), 4_040_000), ("word", "symbol", 10_000, (200, 200), 6_120_000),
    ("word", "symbol", 10_000, (200, 200, 200), 6_160_000), ("word", "symbol", 10_000, 400, 8_480_000),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE_1, ids=lambda row: f"{row[0]}-{row[3]}")
def test_weights_of_table_1(row: tuple[str, str, int, Any, int]) -> None:
    _, kind, n, units, weights = row
    match units:
        case (hidden,):
            text = plain(n, hidden, kind)
        case (_, hidden):
            text = transition(n, hidden, shortcut=True, kind=kind)
        case (_, hidden, output):
            text = transition(n, hidden, shortcut=True, output=output, kind=kind)
        case hidden:
            text = stacked(n, hidden, kind=kind)
    assert summarize(graph_of(text))["parameters"]["weights"] == weights


def test_cycles_are_never_listed() -> None:
    """Eighteen layers with every shortcut have some 10^5 simple cycles; twenty with delays, more."""
    lines = ["input x: real[4]"]
    layers = 18
    lines += [f"state h_{i}: real[4]" for i in range(1, layers + 1)]
    for i in range(1, layers + 1):
        below = " + ".join(f"U{i}_{j} h_{j}'" for j in range(1, i)) or f"Q{i} x"
        above = " + ".join(f"W{i}_{j} h_{j}[t-{1 + (i + j) % 3}]" for j in range(1, layers + 1))
        lines.append(f"h_{i}' = tanh({below} + {above})")
    lines.append(f"x' = ▷ h_{layers}'")
    graph = graph_of("\n".join(lines) + "\n")
    start = time.process_time()
    depth = measure_depth(graph)
    assert time.process_time() - start < 10
    # A cycle climbs from some layer to a higher one within a step and comes back after a delay.
    best = max(
        Fraction(top - bottom + 1, 1 + (bottom + top) % 3)
        for top in range(1, layers + 1)
        for bottom in range(1, top + 1)
    )
    assert depth.recurrent_depth == best


def stack(layers: int) -> str:
    """Layers of which the first one reads the last one's state: one cycle, many states in it."""
    return f"""
model stack(n = {layers}):
    input x: real[2]
    z_0: real[2] = tanh(W_in x + V_in h_{{n}}[t-1])
    for l in 1..n:
        state h_l: real[2]
        h_l' = tanh(W_l h_l + U_l z_{{l-1}})
        z_l = h_l'
    x' = ▷ z_{{n}}
"""


def chain(layers: int, *, forward: bool) -> str:
    """A ring of states, read in or against the order of their declarations."""
    states = range(1, layers + 1)
    lines = [f"state h_{n}: real[2]" for n in states]
    for n in states:
        before = (n - 2) % layers + 1 if forward else n % layers + 1
        lines.append(f"h_{n}' = tanh(W_{n} h_{before} + U_{n} x)")
    return "\n".join(["input x: real[2]", *lines, f"x' = ▷ h_{layers}'"])


GROWING = {
    "srnn": lambda n: zoo_source("srnn").text.replace("layers = 2", f"layers = {n}"),
    "birnn": lambda n: zoo_source("birnn").text.replace("layers = 1", f"layers = {n}"),
    "dts_rnn": lambda n: zoo_source("dts_rnn").text.replace("layers = 2", f"layers = {n}"),
    "stack": stack,
    "ring": lambda n: chain(n, forward=True),
    "ring against the order": lambda n: chain(n, forward=False),
}


@pytest.mark.parametrize("name", GROWING)
def test_the_work_grows_as_the_model_does(name: str) -> None:
    graphs = [analyze(Source(GROWING[name](n), "g.rnn")).require_graph() for n in (3, 20, 40)]
    _, small, large = (count_lines(lambda g=g: depths.measure_depth(g)) for g in graphs)  # type: ignore[misc]
    assert large.total() < 2.3 * small.total()
    assert superlinear_functions(small, large, factor=2.6) == {}


def test_rings_have_the_depths_that_they_should() -> None:
    for forward in (True, False):
        depth = depths.measure_depth(
            analyze(Source(chain(9, forward=forward), "g.rnn")).require_graph()
        )
        assert (depth.hidden_to_hidden, depth.recurrent_depth, depth.skip_coefficient) == (0, 1, 1)
    depth = depths.measure_depth(analyze(Source(stack(9), "g.rnn")).require_graph())
    assert (depth.hidden_to_hidden, depth.recurrent_depth) == (10, 10)
