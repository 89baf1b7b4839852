"""Networks of several layers that are more than a stack."""

from __future__ import annotations

import torch
from papers.cells.lstm import lstm_step
from papers.cells.parameters import Parameters, Steps, affine, cell
from torch import sigmoid, tanh


@cell
def fs_lstm(p: Parameters, x: Steps) -> Steps:
    """Mujika et al. 2017, eqs. 1-3: two fast cells, one slow."""
    c1, c2, slow, cs, fast = (p.zeros(4) for _ in range(5))
    y = []
    for x_t in x:
        first, c1 = lstm_step(p / "F1", x_t, fast, c1)
        slow, cs = lstm_step(p / "S", first, slow, cs)
        fast, c2 = lstm_step(p / "F2", slow, first, c2)
        y.append(fast)
    return y


@cell
def gf_rnn(p: Parameters, x: Steps) -> Steps:
    """Chung et al. 2015, eqs. 10-11: layers that read each other through global gates."""
    h1, h2, y = p.zeros(4), p.zeros(4), []
    for x_t in x:
        both = torch.cat([h1, h2])
        g11 = sigmoid(p.w11 @ x_t + p.u11 @ both)
        g21 = sigmoid(p.w21 @ x_t + p.u21 @ both)
        new = tanh(p.W1 @ x_t + g11 * (p.U11 @ h1) + g21 * (p.U21 @ h2))
        g12 = sigmoid(p.w12 @ new + p.u12 @ both)
        g22 = sigmoid(p.w22 @ new + p.u22 @ both)
        h2 = tanh(p.W2 @ new + g12 * (p.U12 @ h1) + g22 * (p.U22 @ h2))
        h1 = new
        y.append(h2)
    return y


@cell
def depth_gated_lstm(p: Parameters, x: Steps) -> Steps:
    """Yao et al. 2015, eqs. 1-7: the cell of the lower layer enters that of the upper one."""
    h1, c1, h2, c2 = (p.zeros(4) for _ in range(4))
    y = []
    for x_t in x:
        a = {gate: affine(p, f"1{gate}", x_t, h1) for gate in "ifgo"}
        c1 = sigmoid(a["f"]) * c1 + sigmoid(a["i"]) * tanh(a["g"])
        h1 = sigmoid(a["o"]) * tanh(c1)
        a = {gate: affine(p, f"2{gate}", h1, h2) for gate in "ifgo"}
        d = sigmoid(p.bd + p.Wxd @ h1 + p.wcd * c2 + p.wld * c1)
        c2 = d * c1 + sigmoid(a["f"]) * c2 + sigmoid(a["i"]) * tanh(a["g"])
        h2 = sigmoid(a["o"]) * tanh(c2)
        y.append(h2)
    return y
