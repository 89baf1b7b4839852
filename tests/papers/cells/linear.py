"""Recurrences that are linear in their state."""

from __future__ import annotations

import torch
from papers.cells.parameters import Parameters, Steps, affine, at, cell
from torch import sigmoid, tanh


@cell
def sru(p: Parameters, x: Steps) -> Steps:
    """Lei et al. 2018, eqs. 1-4."""
    c, y = p.zeros(4), []
    for x_t in x:
        f = sigmoid(p.Wf @ x_t + p.vf * c + p.bf)
        r = sigmoid(p.Wr @ x_t + p.vr * c + p.br)
        c = f * c + (1 - f) * (p.W @ x_t)
        y.append(r * c + (1 - r) * x_t)
    return y


@cell
def qrnn(p: Parameters, x: Steps) -> Steps:
    """Bradbury et al. 2017, eqs. 1-2 and fo-pooling, a filter of two steps."""
    c, y = p.zeros(4), []
    for t, x_t in enumerate(x):
        past = at(x, t - 1, p.zeros(3))
        z = tanh(p.Wz1 @ past + p.Wz2 @ x_t)
        f = sigmoid(p.Wf1 @ past + p.Wf2 @ x_t)
        o = sigmoid(p.Wo1 @ past + p.Wo2 @ x_t)
        c = f * c + (1 - f) * z
        y.append(o * c)
    return y


@cell
def min_gru(p: Parameters, x: Steps) -> Steps:
    """Feng et al. 2024, section 3.1."""
    h, y = p.zeros(4), []
    for x_t in x:
        z = sigmoid(p.Wz @ x_t + p.bz)
        h = (1 - z) * h + z * (p.Wh @ x_t + p.bh)
        y.append(h)
    return y


@cell
def min_lstm(p: Parameters, x: Steps) -> Steps:
    """Feng et al. 2024, section 3.2."""
    h, y = p.zeros(4), []
    for x_t in x:
        f, i = sigmoid(p.Wf @ x_t + p.bf), sigmoid(p.Wi @ x_t + p.bi)
        h = f / (f + i) * h + i / (f + i) * (p.Wh @ x_t + p.bh)
        y.append(h)
    return y


@cell
def lru(p: Parameters, x: Steps) -> Steps:
    """Orvieto et al. 2023, eq. 8 and section 3.4, in complex numbers."""
    decay = torch.exp(torch.complex(-torch.exp(p.nu), torch.exp(p.theta)))
    enter, leave = torch.complex(p.Bre, p.Bim), torch.complex(p.Cre, p.Cim)
    h, y = torch.complex(p.zeros(4), p.zeros(4)), []
    for x_t in x:
        h = decay * h + torch.exp(p.gamma) * (enter @ x_t.to(enter.dtype))
        y.append((leave @ h).real + p.D * x_t)
    return y


@cell
def rg_lru(p: Parameters, x: Steps) -> Steps:
    """De et al. 2024, eqs. 1-4."""
    h, y = p.zeros(4), []
    for x_t in x:
        r, i = sigmoid(p.Wa @ x_t + p.ba), sigmoid(p.Wx @ x_t + p.bx)
        log_a = -8 * torch.nn.functional.softplus(p.lam) * r
        h = torch.exp(log_a) * h + torch.sqrt(1 - torch.exp(2 * log_a)) * (i * x_t)
        y.append(h)
    return y


@cell
def gilr_lstm(p: Parameters, x: Steps) -> Steps:
    """Martin and Cundy 2018, section 3.3: gates read a linear surrogate of the state."""
    s, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        i, f, o = (sigmoid(affine(p, gate, x_t, s)) for gate in "ifo")
        z = tanh(affine(p, "z", x_t, s))
        c = f * c + i * z
        y.append(o * c)
        g = sigmoid(p.Vg @ x_t + p.bg)
        s = g * s + (1 - g) * tanh(p.Vs @ x_t + p.bs)
    return y


@cell
def gamma_memory(p: Parameters, x: Steps) -> Steps:
    """De Vries and Principe 1992, eq. 9, of order 3."""
    mu = sigmoid(p.mu)
    taps, y = [p.zeros(3)] * 4, []
    for x_t in x:
        taps = [x_t] + [(1 - mu) * taps[k] + mu * taps[k - 1] for k in (1, 2, 3)]
        y.append(tanh(p.W0 @ taps[0] + p.W1 @ taps[1] + p.W2 @ taps[2] + p.W3 @ taps[3] + p.b))
    return y
