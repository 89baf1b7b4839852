"""Specs whose columns form independent parts."""

from __future__ import annotations

INDEPENDENT_COLUMNS = {
    "blocks of an LSTM": """
operator cell(x, (h, c)):
    param Ui, Uf, Ug, Uo: blocks(4)
    i = σ(Wi x + Ui h + bi)
    f = σ(Wf x + Uf h + bf)
    g = tanh(Wg x + Ug h + bg)
    o = σ(Wo x + Uo h + bo)
    d = f ⊙ c + i ⊙ g
    (o ⊙ tanh(d), d)

model blocked(hidden = 12):
    input x: real[3]
    state h, c: real[hidden]
    operator ⊕ = cell
    output y: real[hidden]
    (h', c') = x ⊕ (h, c)
    y = h'
""",
    "two products of blocks, one after the other": """
operator cell(x, h: real[n]):
    param U, S: blocks(4)
    param d: vector
    z: real[n] = tanh(W x + U h + b)
    tanh(S z + d ⊙ h)

model blocked(hidden = 12):
    input x: real[3]
    state h: real[hidden]
    operator ⊕ = cell
    output y: real[hidden]
    h' = x ⊕ h
    y = h'
""",
    "no products": """
model pointwise(hidden = 100):
    input x: real[3]
    state h: real[hidden]
    output y: real[hidden]
    param d: vector
    h' = tanh(W x + d ⊙ h + b)
    y = h'
""",
}
