"""Networks that read the sequence from both ends."""

from __future__ import annotations

import torch
from papers.cells.lstm import lstm_step, peephole_step
from papers.cells.parameters import Parameters, Steps, at, cell, column
from torch import Tensor, sigmoid, tanh


def _run(step, p: Parameters, x: Steps, *, backward: bool) -> Steps:
    """An LSTM over a segment from its start, or from its end."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in reversed(x) if backward else x:
        h, c = step(p, x_t, h, c)
        y.append(h)
    return y[::-1] if backward else y


def _both(step, forward: Parameters, backward: Parameters, x: Steps) -> Steps:
    left = _run(step, forward, x, backward=False)
    right = _run(step, backward, x, backward=True)
    return [torch.cat(pair) for pair in zip(left, right, strict=True)]


@cell
def brnn(p: Parameters, x: Steps) -> Steps:
    """Schuster and Paliwal 1997, section II.B."""
    f, left = p.zeros(4), []
    for x_t in x:
        f = tanh(p.Uf @ x_t + p.Wf @ f + p.bf)
        left.append(f)
    g, right = p.zeros(4), []
    for x_t in reversed(x):
        g = tanh(p.Ug @ x_t + p.Wg @ g + p.bg)
        right.append(g)
    return [p.Vf @ a + p.Vg @ b + p.c for a, b in zip(left, reversed(right), strict=True)]


@cell
def blstm(p: Parameters, x: Steps) -> Steps:
    """Graves and Schmidhuber 2005."""
    return [p.V @ h for h in _both(peephole_step, p / "F", p / "B", x)]


def _gru(p: Parameters, e: Steps) -> Steps:
    h, y = p.zeros(4), []
    for e_t in e:
        z, r = sigmoid(p.Wz @ e_t + p.Uz @ h), sigmoid(p.Wr @ e_t + p.Ur @ h)
        h = (1 - z) * h + z * tanh(p.W @ e_t + p.U @ (r * h))
        y.append(h)
    return y


@cell
def bahdanau_encoder(p: Parameters, x: Steps) -> Steps:
    """Bahdanau et al. 2015, appendix A.2.1."""
    e = [column(p.E, x_t) for x_t in x]
    left, right = _gru(p / "F", e), _gru(p / "B", e[::-1])[::-1]
    return [torch.cat(pair) for pair in zip(left, right, strict=True)]


@cell
def rcnn(p: Parameters, x: Steps) -> Steps:
    """Lai et al. 2015, eqs. 1-4; words outside of the text are zero."""
    nothing = p.zeros(3)

    def contexts(words: Steps, w: Tensor, s: Tensor) -> Steps:
        c, series = p.zeros(4), []
        for i in range(len(words)):
            c = tanh(w @ c + s @ at(words, i - 1, nothing))
            series.append(c)
        return series

    left = contexts(x, p.Wl, p.Wsl)
    right = contexts(x[::-1], p.Wr, p.Wsr)[::-1]
    return [
        tanh(p.W2 @ torch.cat([a, x_t, b]) + p.b2) for a, x_t, b in zip(left, x, right, strict=True)
    ]


@cell
def deep_blstm(p: Parameters, x: Steps) -> Steps:
    """Graves et al. 2013, section 3, two layers."""
    z = _both(lstm_step, p / "F1", p / "B1", x)
    return [p.V @ h for h in _both(lstm_step, p / "F2", p / "B2", z)]


@cell
def twin_net(p: Parameters, x: Steps) -> tuple[Steps, Steps]:
    """Serdyuk et al. 2018, eqs. 3-5: the forward state learns to say what the backward one saw."""
    f, left = p.zeros(4), []
    for x_t in x:
        f = tanh(p.Uf @ x_t + p.Wf @ f + p.bf)
        left.append(f)
    g, right = p.zeros(4), []
    for x_t in reversed(x):
        g = tanh(p.Ug @ x_t + p.Wg @ g + p.bg)
        right.append(g)
    terms = [
        (p.A @ a + p.c - b.detach()).square().sum()
        for a, b in zip(left, reversed(right), strict=True)
    ]
    return [p.V @ a for a in left], terms
