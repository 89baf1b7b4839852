"""Benchmark specs besides those of the zoo: single layers, and single loops."""

from __future__ import annotations

LSTM = """use lstm from gated

model lstm(hidden = 128, inputs = 88):
    input x: real[inputs]
    state h, c: real[hidden]
    output y: real[hidden]
    operator ⊕ = lstm
    (h', c') = x ⊕ (h, c)
    y = h'
"""

GRU = """use gru from gated

model gru(hidden = 128, inputs = 88):
    input x: real[inputs]
    state h: real[hidden]
    output y: real[hidden]
    operator ⊕ = gru
    h' = x ⊕ h
    y = h'
"""

RNN = """model rnn(hidden = 128, inputs = 88):
    input x: real[inputs]
    state h: real[hidden]
    output y: real[hidden]
    h' = x ⊕ h
    y = h'
"""

LAYERS = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}
"""One layer each without an output layer, like a layer of torch.nn."""

# Frozen matrices and a scalar input leave only the loops: the gradient of the learned initial state
# needs the whole backward loop, and no sum over steps. Every step has an output, since a gradient
# from the end alone would fade to denormal numbers.
_LOOP = """model loop(hidden = 256):
    input x: real[1]
    output y: real
    param {matrices}: real[hidden, hidden], frozen
"""

LSTM_LOOP = (
    _LOOP.format(matrices="Ui, Uf, Ug, Uo")
    + """    state h, c: real[hidden] = learned
    c' = σ(Uf h + x) ⊙ c + σ(Ui h + x) ⊙ tanh(Ug h + x)
    h' = σ(Uo h + x) ⊙ tanh(c')
    y = sum(h')
"""
)

GRU_LOOP = (
    _LOOP.format(matrices="Ur, Uz, Un")
    + """    state h: real[hidden] = learned
    z = σ(Uz h + x)
    h' = (1 - z) ⊙ tanh(σ(Ur h + x) ⊙ (Un h) + x) + z ⊙ h
    y = sum(h')
"""
)

RNN_LOOP = (
    _LOOP.format(matrices="U")
    + """    state h: real[hidden] = learned
    h' = tanh(U h + x)
    y = sum(h')
"""
)

DEEP_LOOP = (
    _LOOP.format(matrices="U, W, S")
    + """    state h: real[hidden] = learned
    z: real[hidden] = tanh(U h + x)
    h' = tanh(W z + S h + x)
    y = sum(h')
"""
)

LOOPS = {
    "LSTM": (LSTM_LOOP, 4),
    "GRU": (GRU_LOOP, 3),
    "tanh RNN": (RNN_LOOP, 1),
    "DT(S)": (DEEP_LOOP, 3),
}
"""Loops alone, with the number of (B, H) by (H, H) matmuls per step."""
