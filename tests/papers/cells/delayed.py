"""Networks that read their past at several delays."""

from __future__ import annotations

import torch
from papers.cells.parameters import Parameters, Steps, affine, at, cell, weighted
from torch import sigmoid, tanh


@cell
def dilated_rnn(p: Parameters, x: Steps) -> Steps:
    """Chang et al. 2017, eq. 1: skips of 1 and 4."""
    h1, h2 = p.zeros(4), []
    for t, x_t in enumerate(x):
        h1 = tanh(p.U1 @ x_t + p.W1 @ h1 + p.b1)
        h2.append(tanh(p.U2 @ h1 + p.W2 @ at(h2, t - 4, p.zeros(4)) + p.b2))
    return h2


@cell
def narx_rnn(p: Parameters, x: Steps) -> Steps:
    """Lin et al. 1996, eq. 5, of order 3."""
    h = []
    for t, x_t in enumerate(x):
        one, two, three = (at(h, t - k, p.zeros(4)) for k in (1, 2, 3))
        h.append(tanh(p.U @ x_t + p.W1 @ one + p.W2 @ two + p.W3 @ three + p.b))
    return h


@cell
def mist_rnn(p: Parameters, x: Steps) -> Steps:
    """DiPietro et al. 2018, eqs. 9-12: delays 1, 2, 4, 8."""
    h = []
    for t, x_t in enumerate(x):
        last = at(h, t - 1, p.zeros(4))
        a = torch.softmax(p.Wax @ x_t + p.Wah @ last + p.ba, 0)
        r = sigmoid(p.Wrx @ x_t + p.Wrh @ last + p.br)
        past = weighted(a, [at(h, t - d, p.zeros(4)) for d in (1, 2, 4, 8)])
        h.append(tanh(p.Wx @ x_t + p.Wm @ (r * past) + p.b))
    return h


@cell
def tdnn(p: Parameters, x: Steps) -> Steps:
    """Waibel et al. 1989: two layers of delays; what lies before the sequence is zero."""
    z, y = [], []
    for t, x_t in enumerate(x):
        one, two = (at(x, t - k, p.zeros(3)) for k in (1, 2))
        z.append(sigmoid(p.W0 @ x_t + p.W1 @ one + p.W2 @ two + p.b))
        two, four = (at(z, t - k, p.zeros(4)) for k in (2, 4))
        y.append(sigmoid(p.V0 @ z[t] + p.V2 @ two + p.V4 @ four + p.c))
    return y


@cell
def holt_winters(p: Parameters, x: Steps) -> Steps:
    """Smyl 2020, eqs. 1-2: multiplicative, a season of four steps; level and season begin at 1."""
    one = p.zeros(2) + 1
    alpha, gamma = sigmoid(p.a), sigmoid(p.g)
    level, season, y = one, [], []
    for t, x_t in enumerate(x):
        old = at(season, t - 4, one)
        level = alpha * x_t / old + (1 - alpha) * level
        season.append(gamma * x_t / level + (1 - gamma) * old)
        y.append(level * at(season, t - 3, one))
    return y


@cell
def lstm_forget_delays(p: Parameters, x: Steps) -> Steps:
    """Gers et al. 2000, with a recurrent skip of three steps (Zhang et al. 2016)."""
    h, c, y = [], p.zeros(4), []
    for t, x_t in enumerate(x):
        last, third = (at(h, t - k, p.zeros(4)) for k in (1, 3))
        i, f, o = (sigmoid(affine(p, gate, x_t, last)) for gate in "ifo")
        c = f * c + i * tanh(affine(p, "g", x_t, last) + p.Sg @ third)
        h.append(o * tanh(c))
        y.append(torch.cat([h[t], at(h, t - 2, p.zeros(4))]))
    return y
