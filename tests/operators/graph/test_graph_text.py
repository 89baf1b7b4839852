"""The stable text form of the operator graph, compared with a recording."""

from __future__ import annotations

from typing import Any

import pytest

from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze

SPECS = {
    "conventional": "input x: binary[8]\nstate h: real[4]\n\nh' = x ⊕ h\nx' = ▷ h'\n",
    "tuple": """
operator x ⊕ (h, c):
    param Uf: orthogonal, weightdrop(0.5)
    f = σ(Wf x + Uf h + bf)
    d = f ⊙ c + (1 - f) ⊙ tanh(W x)
    (tanh(d), d)
input x: symbol[5]
state h: real[3]
state c: real[3] = learned
(h', c') = x ⊕ (h, c)
x' = ▷ dropout(0.5, h')
""",
    "both ways": """
operator f(x, h) = tanh(W h + U x)
operator ⊕₁, ⊕₂ = f
input x: real[2]
state h, g: real[3]
output y: real[2] at end
h' = x ⊕₁ h
g[t] = x[t-1] ⊕₂ g[t+2]
y = V [h' ; g']
""",
    "layers": """
model net(layers = 2, hidden = 3):
    input x: real[2]
    z_0 = x
    for l in 1..layers:
        state h_l: real[hidden] = uniform(0, 0.1)
        h_l' = z_{l-1} ⊕_l h_l[t-l]
        z_l = h_l'
    x' = ▷ z_{layers}
    law x ⊕₁ h_1 ≈ x[t-1] ⊕₁ h_1 weight 0.1
""",
    "annotated": """
param W: blocks(2), scale(0.9)
param u: diagonal
param E: real[4, 3], frozen
input x: real[3]
state h: real[4]
h' = lp(2, [W h + E x ; u h], r) / (1.5 + h * h)
x' = Eᵀ h'
param r: vector, constant(1)
""",
}


@pytest.mark.parametrize("name", SPECS)
def test_the_text_of_a_graph(name: str, snapshot: Any) -> None:
    assert analyze(Source(SPECS[name], f"{name}.rnn")).require_graph().to_text() == snapshot


def test_the_text_is_the_same_in_every_run() -> None:
    for text in SPECS.values():
        first, second = (analyze(Source(text)).require_graph().to_text() for _ in range(2))
        assert first == second


def test_a_change_of_the_graph_is_a_change_of_the_text() -> None:
    text = SPECS["both ways"]
    original = analyze(Source(text)).require_graph().to_text()
    for old, new in [("t+2", "t+1"), ("tanh", "σ"), ("real[3]", "real[4]"), ("at end", ""),
                     ("x[t-1]", "x"), ("h' ; g'", "g' ; h'"), ("⊕₁, ⊕₂", "⊕₂, ⊕₁"),
                     ("W h + U x", "U x + W h")]:  # fmt: skip
        changed = analyze(Source(text.replace(old, new))).require_graph().to_text()
        assert (changed != original) == (old != "⊕₁, ⊕₂"), old
