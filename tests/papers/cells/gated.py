"""Gated cells with one vector of state."""

from __future__ import annotations

import torch
from papers.cells.parameters import Parameters, Steps, affine, cell
from torch import sigmoid, tanh


@cell
def gru_2014(p: Parameters, x: Steps) -> Steps:
    """Cho et al. 2014, eqs. 5-8."""
    h, y = p.zeros(4), []
    for x_t in x:
        r = sigmoid(p.Wr @ x_t + p.Ur @ h)
        z = sigmoid(p.Wz @ x_t + p.Uz @ h)
        g = tanh(p.W @ x_t + p.U @ (r * h))
        h = z * h + (1 - z) * g
        y.append(h)
    return y


@cell
def gru_torch(p: Parameters, x: Steps) -> Steps:
    """Cho et al. 2014, version 1, with cuDNN's bias in the reset product; h_0 is learned."""
    h, y = p.h0, []
    for x_t in x:
        r, z = sigmoid(affine(p, "r", x_t, h)), sigmoid(affine(p, "z", x_t, h))
        n = tanh(p.Wn @ x_t + p.bn + r * (p.Un @ h + p.bm))
        h = (1 - z) * n + z * h
        y.append(h)
    return y


@cell
def mgu(p: Parameters, x: Steps) -> Steps:
    """Zhou et al. 2016, eqs. 5-7."""
    h, y = p.zeros(4), []
    for x_t in x:
        f = sigmoid(affine(p, "f", x_t, h))
        h = (1 - f) * h + f * tanh(affine(p, "", x_t, f * h))
        y.append(h)
    return y


@cell
def minimal_rnn(p: Parameters, x: Steps) -> Steps:
    """Chen 2017, eqs. 1-3."""
    h, y = p.zeros(4), []
    for x_t in x:
        z = tanh(p.Wz @ x_t + p.bz)
        u = sigmoid(p.Uh @ h + p.Uz @ z + p.bu)
        h = u * h + (1 - u) * z
        y.append(h)
    return y


@cell
def ugrnn(p: Parameters, x: Steps) -> Steps:
    """Collins et al. 2017, eqs. 5-6."""
    h, y = p.zeros(4), []
    for x_t in x:
        c, g = tanh(affine(p, "c", x_t, h)), sigmoid(affine(p, "g", x_t, h))
        h = g * h + (1 - g) * c
        y.append(h)
    return y


@cell
def intersection_rnn(p: Parameters, x: Steps) -> Steps:
    """Collins et al. 2017, eqs. 7-12, the +RNN."""
    h, out = p.zeros(4), []
    for x_t in x:
        y_in, h_in = torch.relu(affine(p, "y", x_t, h)), tanh(affine(p, "h", x_t, h))
        gy, gh = sigmoid(affine(p, "gy", x_t, h)), sigmoid(affine(p, "gh", x_t, h))
        out.append(gy * x_t + (1 - gy) * y_in)
        h = gh * h + (1 - gh) * h_in
    return out


@cell
def janet(p: Parameters, x: Steps) -> Steps:
    """Van der Westhuizen and Lasenby 2018, eqs. 6-8, β = 1."""
    h, y = p.zeros(4), []
    for x_t in x:
        s = affine(p, "f", x_t, h)
        candidate = tanh(affine(p, "c", x_t, h))
        h = sigmoid(s) * h + (1 - sigmoid(s - 1)) * candidate
        y.append(h)
    return y


@cell
def star(p: Parameters, x: Steps) -> Steps:
    """Turkoglu et al. 2019, eqs. 10-12."""
    h, y = p.zeros(4), []
    for x_t in x:
        k = sigmoid(p.Wx @ x_t + p.Wh @ h + p.bk)
        z = tanh(p.Wz @ x_t + p.bz)
        h = tanh((1 - k) * h + k * z)
        y.append(h)
    return y


@cell
def li_gru(p: Parameters, x: Steps) -> Steps:
    """Ravanelli et al. 2018, eqs. 9-11, without batch normalisation."""
    h, y = p.zeros(4), []
    for x_t in x:
        z = sigmoid(p.Wz @ x_t + p.Uz @ h)
        h = z * h + (1 - z) * torch.relu(p.Wh @ x_t + p.Uh @ h)
        y.append(h)
    return y


@cell
def delta_rnn(p: Parameters, x: Steps) -> Steps:
    """Ororbia et al. 2017, eqs. 8-12."""
    h, y = p.zeros(4), []
    for x_t in x:
        a, v = p.W @ x_t, p.V @ h
        z = tanh(p.alpha * v * a + p.beta1 * v + p.beta2 * a + p.b)
        r = sigmoid(a + p.br)
        h = tanh((1 - r) * z + r * h)
        y.append(h)
    return y


@cell
def mut1(p: Parameters, x: Steps) -> Steps:
    """Jozefowicz et al. 2015, MUT1."""
    h, y = p.zeros(4), []
    for x_t in x:
        z = sigmoid(p.Wxz @ x_t + p.bz)
        r = sigmoid(p.Wxr @ x_t + p.Whr @ h + p.br)
        h = tanh(p.Whh @ (r * h) + tanh(x_t) + p.bh) * z + h * (1 - z)
        y.append(h)
    return y


@cell
def mut2(p: Parameters, x: Steps) -> Steps:
    """Jozefowicz et al. 2015, MUT2."""
    h, y = p.zeros(4), []
    for x_t in x:
        z = sigmoid(p.Wxz @ x_t + p.Whz @ h + p.bz)
        r = sigmoid(x_t + p.Whr @ h + p.br)
        h = tanh(p.Whh @ (r * h) + p.Wxh @ x_t + p.bh) * z + h * (1 - z)
        y.append(h)
    return y


@cell
def mut3(p: Parameters, x: Steps) -> Steps:
    """Jozefowicz et al. 2015, MUT3."""
    h, y = p.zeros(4), []
    for x_t in x:
        z = sigmoid(p.Wxz @ x_t + p.Whz @ tanh(h) + p.bz)
        r = sigmoid(p.Wxr @ x_t + p.Whr @ h + p.br)
        h = tanh(p.Whh @ (r * h) + p.Wxh @ x_t + p.bh) * z + h * (1 - z)
        y.append(h)
    return y


@cell
def lem(p: Parameters, x: Steps) -> Steps:
    """Rusch et al. 2022, eq. 3, Δt = 0.5."""
    y, z, out = p.zeros(4), p.zeros(4), []
    for x_t in x:
        d = 0.5 * sigmoid(p.W1 @ y + p.V1 @ x_t + p.b1)
        e = 0.5 * sigmoid(p.W2 @ y + p.V2 @ x_t + p.b2)
        z = (1 - d) * z + d * tanh(p.Wz @ y + p.Vz @ x_t + p.bz)
        y = (1 - e) * y + e * tanh(p.Wy @ z + p.Vy @ x_t + p.by)
        out.append(y)
    return out


@cell
def antisymmetric_gated(p: Parameters, x: Steps) -> Steps:
    """Chang et al. 2019, eq. 13: ε = 0.1, γ = 0.2."""
    h, y = p.zeros(4), []
    for x_t in x:
        a = (p.W - p.W.t() - 0.2 * torch.eye(4, dtype=p.W.dtype)) @ h
        z = sigmoid(a + p.Vz @ x_t + p.bz)
        h = h + 0.1 * z * tanh(a + p.Vh @ x_t + p.bh)
        y.append(h)
    return y


@cell
def fast_grnn(p: Parameters, x: Steps) -> Steps:
    """Kusupati et al. 2018, eq. 4."""
    h, y = p.zeros(4), []
    for x_t in x:
        a = p.W @ x_t + p.U @ h
        z, g = sigmoid(a + p.bz), tanh(a + p.bh)
        h = (sigmoid(p.zeta) * (1 - z) + sigmoid(p.nu)) * g + z * h
        y.append(h)
    return y


@cell
def cfn(p: Parameters, x: Steps) -> Steps:
    """Laurent and von Brecht 2017, eqs. 1-3."""
    h, y = p.zeros(4), []
    for x_t in x:
        theta = sigmoid(p.Ut @ h + p.Vt @ x_t + p.bt)
        eta = sigmoid(p.Un @ h + p.Vn @ x_t + p.bn)
        h = theta * tanh(h) + eta * tanh(p.W @ x_t)
        y.append(h)
    return y


@cell
def nbrc(p: Parameters, x: Steps) -> Steps:
    """Vecoven et al. 2021, the neuromodulated bistable recurrent cell."""
    h, y = p.zeros(4), []
    for x_t in x:
        a = 1 + tanh(p.Ua @ x_t + p.Wa @ h)
        c = sigmoid(p.Uc @ x_t + p.Wc @ h)
        h = c * h + (1 - c) * tanh(p.U @ x_t + a * h)
        y.append(h)
    return y


@cell
def rhn(p: Parameters, x: Steps) -> Steps:
    """Zilly et al. 2017, eqs. 7-9: depth 2, the carry gate what the transform gate leaves."""
    s, y = p.zeros(4), []
    for x_t in x:
        g = tanh(p.Wh @ x_t + p.Rh1 @ s + p.bh1)
        q = sigmoid(p.Wt @ x_t + p.Rt1 @ s + p.bt1)
        s = g * q + s * (1 - q)
        g, q = tanh(p.Rh2 @ s + p.bh2), sigmoid(p.Rt2 @ s + p.bt2)
        s = g * q + s * (1 - q)
        y.append(s)
    return y


@cell
def gru_d(p: Parameters, x: Steps) -> Steps:
    """Che et al. 2018, eqs. 3-10; a step is (x, m, d)."""
    h, last, y = p.zeros(4), p.zeros(3), []
    for x_t, m, d in x:
        decay_x = torch.exp(-torch.relu(p.wx * d + p.bx))
        decay_h = torch.exp(-torch.relu(p.Wg @ d + p.bg))
        filled = m * x_t + (1 - m) * (decay_x * last + (1 - decay_x) * p.mean)
        last = m * x_t + (1 - m) * last
        old = decay_h * h
        r = sigmoid(p.Wr @ filled + p.Ur @ old + p.Vr @ m + p.br)
        z = sigmoid(p.Wz @ filled + p.Uz @ old + p.Vz @ m + p.bz)
        g = tanh(p.W @ filled + p.U @ (r * old) + p.V @ m + p.b)
        h = (1 - z) * old + z * g
        y.append(h)
    return y
