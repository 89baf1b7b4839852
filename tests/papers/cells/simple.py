"""Networks whose summary is one vector, without gates."""

from __future__ import annotations

import torch
from papers.cells.parameters import Parameters, Steps, at, cell


@cell
def elman(p: Parameters, x: Steps) -> Steps:
    """Elman 1990: h_t = σ(U x_t + W h_{t-1} + b), y_t = V h_t + c."""
    h, y = p.zeros(4), []
    for x_t in x:
        h = torch.sigmoid(p.U @ x_t + p.W @ h + p.b)
        y.append(p.V @ h + p.c)
    return y


@cell
def elman_truncated(p: Parameters, x: Steps) -> Steps:
    """Elman 1990, section 2: the context units are inputs, through which no error goes back."""
    h, y = p.zeros(4), []
    for x_t in x:
        h = torch.sigmoid(p.U @ x_t + p.W @ h.detach() + p.b)
        y.append(p.V @ h)
    return y


@cell
def jordan(p: Parameters, x: Steps) -> Steps:
    """Jordan 1986: s_t = 0.5 s_{t-1} + y_{t-1}, h_t = tanh(U x_t + W s_t + b), y_t = V h_t + c."""
    s, last, y = p.zeros(2), p.zeros(2), []
    for x_t in x:
        s = 0.5 * s + last
        last = p.V @ torch.tanh(p.U @ x_t + p.W @ s + p.b) + p.c
        y.append(last)
    return y


@cell
def irnn(p: Parameters, x: Steps) -> Steps:
    """Le et al. 2015, eq. 1."""
    h, y = p.zeros(4), []
    for x_t in x:
        h = torch.relu(p.U @ x_t + p.W @ h + p.b)
        y.append(h)
    return y


@cell
def scrn(p: Parameters, x: Steps) -> Steps:
    """Mikolov et al. 2015, eqs. 5-7, α = 0.95."""
    s, h, y = p.zeros(3), p.zeros(4), []
    for x_t in x:
        s = 0.05 * (p.B @ x_t) + 0.95 * s
        h = torch.sigmoid(p.P @ s + p.A @ x_t + p.R @ h)
        y.append(p.U @ h + p.V @ s)
    return y


@cell
def mi_rnn(p: Parameters, x: Steps) -> Steps:
    """Wu et al. 2016, eq. 4."""
    h, y = p.zeros(4), []
    for x_t in x:
        a, r = p.W @ x_t, p.U @ h
        h = torch.tanh(p.alpha * a * r + p.beta1 * r + p.beta2 * a + p.b)
        y.append(h)
    return y


@cell
def esn(p: Parameters, x: Steps) -> Steps:
    """Jaeger et al. 2007, eq. 2, leak 0.3."""
    h, y = p.zeros(4), []
    for x_t in x:
        h = 0.7 * h + 0.3 * torch.tanh(p.Win @ x_t + p.W @ h)
        y.append(p.Wout @ torch.cat([h, x_t]))
    return y


@cell
def ind_rnn(p: Parameters, x: Steps) -> Steps:
    """Li et al. 2018, eq. 2."""
    h, y = p.zeros(4), []
    for x_t in x:
        h = torch.relu(p.W @ x_t + p.u * h + p.b)
        y.append(h)
    return y


@cell
def cornn(p: Parameters, x: Steps) -> Steps:
    """Rusch and Mishra 2021, eq. 3: Δt = 0.1, γ = 2, ε = 1.5."""
    y, z, out = p.zeros(4), p.zeros(4), []
    for x_t in x:
        z = z + 0.1 * (torch.tanh(p.W @ y + p.Wz @ z + p.V @ x_t + p.b) - 2 * y - 1.5 * z)
        y = y + 0.1 * z
        out.append(y)
    return out


@cell
def statistical_recurrent_unit(p: Parameters, x: Steps) -> Steps:
    """Oliva et al. 2017, eqs. 3-6: moving averages at the rates 0, 0.5 and 0.9."""
    means, y = [p.zeros(4)] * 3, []
    for x_t in x:
        r = torch.relu(p.Wr @ torch.cat(means) + p.br)
        phi = torch.relu(p.Wf @ r + p.Wx @ x_t + p.bf)
        means = [a * m + (1 - a) * phi for a, m in zip((0, 0.5, 0.9), means, strict=True)]
        y.append(torch.relu(p.Wo @ torch.cat(means) + p.bo))
    return y


@cell
def lmu(p: Parameters, x: Steps) -> Steps:
    """Voelker et al. 2019, eqs. 5-7."""
    h, m, y = p.zeros(4), p.zeros(6), []
    for x_t in x:
        u = torch.dot(p.ex, x_t) + torch.dot(p.eh, h) + torch.dot(p.em, m)
        m = p.A @ m + p.B[:, 0] * u
        h = torch.tanh(p.Wx @ x_t + p.Wh @ h + p.Wm @ m)
        y.append(h)
    return y


@cell
def td_features(p: Parameters, x: Steps) -> tuple[Steps, Steps]:
    """Barreto et al. 2017, eq. 3, by TD(0): the target's ψ is held, the earlier one learns."""
    h, psi, terms = p.zeros(4), [], []
    for t, x_t in enumerate(x):
        h = torch.tanh(p.U @ x_t + p.W @ h + p.b)
        psi.append(p.V @ h + p.c)
        error = x_t + 0.9 * psi[t].detach() - at(psi, t - 1, p.zeros(3))
        terms.append((error * error).sum())
    return psi, terms
