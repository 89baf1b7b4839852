"""Long short-term memories: a cell, gates around it."""

from __future__ import annotations

import torch
from papers.cells.parameters import Parameters, Steps, affine, cell
from torch import Tensor, sigmoid, tanh


def lstm_step(p: Parameters, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Gers et al. 2000, without peepholes."""
    i, f, o = (sigmoid(affine(p, gate, x, h)) for gate in "ifo")
    c = f * c + i * tanh(affine(p, "g", x, h))
    return o * tanh(c), c


def peephole_step(p: Parameters, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Graves 2013, eqs. 7-11."""
    i = sigmoid(affine(p, "i", x, h) + p.pi * c)
    f = sigmoid(affine(p, "f", x, h) + p.pf * c)
    c = f * c + i * tanh(affine(p, "c", x, h))
    o = sigmoid(affine(p, "o", x, h) + p.po * c)
    return o * tanh(c), c


def _first(p: Parameters, x: Steps, truncated: bool) -> Steps:
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        seen = h.detach() if truncated else h
        i, o = (sigmoid(affine(p, gate, x_t, seen)) for gate in "io")
        c = c + i * (4 * sigmoid(affine(p, "g", x_t, seen)) - 2)
        h = o * (2 * sigmoid(c) - 1)
        y.append(h)
    return y


@cell
def lstm_1997(p: Parameters, x: Steps) -> Steps:
    """Hochreiter and Schmidhuber 1997, section 4 and eqs. 3-8."""
    return _first(p, x, False)


@cell
def lstm_1997_truncated(p: Parameters, x: Steps) -> Steps:
    """Hochreiter and Schmidhuber 1997, appendix A.1: errors that leave the gates are cut."""
    return _first(p, x, True)


@cell
def lstm_peephole(p: Parameters, x: Steps) -> Steps:
    """Graves 2013, eqs. 7-11."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        h, c = peephole_step(p, x_t, h, c)
        y.append(h)
    return y


@cell
def lstm_cifg(p: Parameters, x: Steps) -> Steps:
    """Greff et al. 2017, the variant CIFG."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        i, o = (sigmoid(affine(p, gate, x_t, h)) for gate in "io")
        c = (1 - i) * c + i * tanh(affine(p, "g", x_t, h))
        h = o * tanh(c)
        y.append(h)
    return y


@cell
def lstmp(p: Parameters, x: Steps) -> Steps:
    """Sak et al. 2014, eqs. 1-6, without peepholes."""
    r, c, y = p.zeros(4), p.zeros(6), []
    for x_t in x:
        m, c = lstm_step(p, x_t, r, c)
        r = p.Wr @ m
        y.append(r)
    return y


@cell
def ran(p: Parameters, x: Steps) -> Steps:
    """Lee et al. 2017, eq. 1."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        i = sigmoid(p.Wih @ h + p.Wix @ x_t + p.bi)
        f = sigmoid(p.Wfh @ h + p.Wfx @ x_t + p.bf)
        c = i * (p.Wcx @ x_t) + f * c
        h = tanh(c)
        y.append(h)
    return y


@cell
def mlstm_krause(p: Parameters, x: Steps) -> Steps:
    """Krause et al. 2017, eqs. 18-22."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        m = (p.Wmx @ x_t) * (p.Wmh @ h)
        i = sigmoid(p.Wix @ x_t + p.Wim @ m)
        o = sigmoid(p.Wox @ x_t + p.Wom @ m)
        f = sigmoid(p.Wfx @ x_t + p.Wfm @ m)
        c = f * c + i * tanh(p.Whx @ x_t + p.Whm @ m)
        h = tanh(c) * o
        y.append(h)
    return y


def _normalise(z: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(z, z.shape, gain, bias, eps=1e-5)


@cell
def ln_lstm(p: Parameters, x: Steps) -> Steps:
    """Ba et al. 2016, eqs. 20-22."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        a = _normalise(p.Wh @ h, p.a1, p.b1) + _normalise(p.Wx @ x_t, p.a2, p.b2) + p.b
        i, f, o, g = a.chunk(4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(_normalise(c, p.a3, p.b3))
        y.append(h)
    return y


@cell
def nested_lstm(p: Parameters, x: Steps) -> Steps:
    """Moniz and Krueger 2018, eqs. 2-7: the cell is an LSTM."""
    h, c, inner, y = p.zeros(4), p.zeros(4), p.zeros(4), []
    for x_t in x:
        i, f, o = (sigmoid(affine(p, gate, x_t, h)) for gate in "ifo")
        g = tanh(affine(p, "g", x_t, h))
        hidden, entering = f * c, i * g
        a = {
            gate: getattr(p, f"V{gate}") @ entering
            + getattr(p, f"R{gate}") @ hidden
            + getattr(p, f"d{gate}")
            for gate in "ifgo"
        }
        inner = sigmoid(a["f"]) * inner + sigmoid(a["i"]) * tanh(a["g"])
        c = sigmoid(a["o"]) * tanh(inner)
        h = o * tanh(c)
        y.append(h)
    return y


@cell
def residual_lstm(p: Parameters, x: Steps) -> Steps:
    """Kim et al. 2017, eqs. 17-22, without peepholes."""
    h, c, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        i, f, o = (sigmoid(affine(p, gate, x_t, h)) for gate in "ifo")
        c = f * c + i * tanh(affine(p, "g", x_t, h))
        h = o * (p.Wp @ tanh(c) + p.Wh @ x_t)
        y.append(h)
    return y


@cell
def slstm(p: Parameters, x: Steps) -> Steps:
    """Beck et al. 2024, eqs. 8-17: exponential input gate, stabilised."""
    h, c, n, m = p.zeros(4), p.zeros(4), p.zeros(4), p.zeros(4)
    y = []
    for x_t in x:
        a = {
            gate: getattr(p, f"W{gate}") @ x_t + getattr(p, f"R{gate}") @ h + getattr(p, f"b{gate}")
            for gate in "ifzo"
        }
        log_f = torch.nn.functional.logsigmoid(a["f"])
        new = torch.maximum(log_f + m, a["i"])
        i, f = torch.exp(a["i"] - new), torch.exp(log_f + m - new)
        c, n, m = f * c + i * tanh(a["z"]), f * n + i, new
        h = sigmoid(a["o"]) * c / n
        y.append(h)
    return y
