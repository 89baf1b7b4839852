"""The cells of the library, written again in NumPy from their papers.

Each takes weights by name, the input and the state of a step, and gives the output and the state.
"""

from __future__ import annotations

import numpy as np

SUMMARY = "state h: real[6]\noutput y: real[6]\nh' = x ⊕ h\ny = h'\n"
PAIR = "state h, c: real[6]\noutput y: real[6]\n(h', c') = x ⊕ (h, c)\ny = h'\n"
READ = "state h: real[6]\noutput y: real[6]\nh' = x\ny = ▷ h'\n"

Array = np.ndarray
Weights = dict[str, Array]


def σ(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def tanh(z: Array) -> Array:
    return np.tanh(z)


def relu(z: Array) -> Array:
    return np.maximum(z, 0)


def norm(z: Array) -> Array:
    return (z - z.mean()) / np.sqrt(z.var() + 1e-5)


def plain(w, x, h, act=tanh):
    h = act(w["W"] @ h + w["U"] @ x + w["b"])
    return h, h


def deep(w, x, h, layers=2, shortcut=False, act=tanh):
    z = act(w["W_1"] @ h + w["U_1"] @ x + w["b_1"])
    for k in range(2, layers + 1):
        a = w[f"W_{k}"] @ z + w[f"b_{k}"]
        if shortcut:
            a = a + w[f"S_{k}"] @ h + w[f"U_{k}"] @ x
        z = act(a)
    return z, z


def deep_output(w, x, h, layers=2, act=tanh):
    z = h
    for k in range(1, layers):
        z = act(w[f"V_{k}"] @ z + w[f"b_{k}"])
    return w[f"V_{layers}"] @ z + w[f"b_{layers}"], h


def groups(z: Array, k: int) -> Array:
    return np.stack([z[i : i + k] for i in range(0, len(z), k)])


def maxout_units(w, x, h, k=2):
    return groups(w["V"] @ h + w["b"], k).max(-1), h


def lp(z: Array, rho: Array, k: int) -> Array:
    # Gulcehre et al. 2014, eq. 3, with p = 1 + log(1 + e^ρ)
    p = 1 + np.log1p(np.exp(rho))
    return np.array(
        [np.mean(np.abs(g) ** q) ** (1 / q) for g, q in zip(groups(z, k), p, strict=True)]
    )


def lp_units(w, x, h, k=2):
    return lp(w["V"] @ h + w["b"], w["ρ"], k), h


def deep_lp(w, x, h, layers=2, k=2):
    z = h
    for n in range(1, layers + 1):
        a = w[f"W_{n}"] @ z + w[f"U_{n}"] @ x + w[f"b_{n}"]
        if n > 1:
            a = a + w[f"S_{n}"] @ h
        z = lp(a, w[f"ρ_{n}"], k) if n < layers else tanh(a)
    return z, z


def deep_maxout(w, x, h, layers=2, k=2):
    z = h
    for n in range(1, layers):
        z = groups(w[f"V_{n}"] @ z + w[f"b_{n}"], k).max(-1)
    return w[f"V_{layers}"] @ z + w[f"b_{layers}"], h


def gate(w, name, x, h):
    return σ(w[f"W{name}"] @ x + w[f"U{name}"] @ h + w[f"b{name}"])


def lstm(w, x, state):
    h, c = state
    i, f, o = (gate(w, name, x, h) for name in "ifo")
    c = f * c + i * tanh(w["Wg"] @ x + w["Ug"] @ h + w["bg"])
    h = o * tanh(c)
    return h, (h, c)


def lstm_peephole(w, x, state):
    # Graves 2013, eqs. 7-11
    h, c = state
    i = σ(w["Wi"] @ x + w["Ui"] @ h + w["pi"] * c + w["bi"])
    f = σ(w["Wf"] @ x + w["Uf"] @ h + w["pf"] * c + w["bf"])
    c = f * c + i * tanh(w["Wg"] @ x + w["Ug"] @ h + w["bg"])
    o = σ(w["Wo"] @ x + w["Uo"] @ h + w["po"] * c + w["bo"])
    h = o * tanh(c)
    return h, (h, c)


def lstm_coupled(w, x, state):
    h, c = state
    f = gate(w, "f", x, h)
    c = f * c + (1 - f) * tanh(w["Wg"] @ x + w["Ug"] @ h + w["bg"])
    h = gate(w, "o", x, h) * tanh(c)
    return h, (h, c)


def lstm_norm(w, x, state):
    # Ba et al. 2016, eqs. 20-22
    h, c = state
    a = w["gx"] * norm(w["W"] @ x) + w["gh"] * norm(w["U"] @ h) + w["b"]
    i, f, g, o = np.split(a, 4)
    c = σ(f + w["bf"]) * c + σ(i) * tanh(g)
    h = σ(o) * tanh(w["gc"] * norm(c) + w["bc"])
    return h, (h, c)


def gru(w, x, h):
    r, z = (gate(w, name, x, h) for name in "rz")
    n = tanh(w["Wn"] @ x + w["bn"] + r * (w["Un"] @ h + w["bm"]))
    h = (1 - z) * n + z * h
    return h, h


def gru_before(w, x, h):
    r, z = (gate(w, name, x, h) for name in "rz")
    n = tanh(w["Wn"] @ x + w["Un"] @ (r * h) + w["bn"])
    h = (1 - z) * n + z * h
    return h, h


def pru(w, x, s):
    # Long et al. 2016: c is the share of the old state that stays
    u = tanh(w["Wu"] @ x + w["Uu"] @ s + w["bu"])
    c = gate(w, "c", x, s)
    s = c * s + (1 - c) * u
    return s, s


def mgu(w, x, h):
    f = gate(w, "f", x, h)
    h = (1 - f) * h + f * tanh(w["Wn"] @ x + w["Un"] @ (f * h) + w["bn"])
    return h, h


def mingru(w, x, h):
    z = σ(w["Wz"] @ x + w["bz"])
    h = (1 - z) * h + z * (w["Wh"] @ x + w["bh"])
    return h, h


def minlstm(w, x, h):
    # Feng et al. 2024, section 3.2: both gates, normalised to sum to one
    f, i = (σ(w[f"W{name}"] @ x + w[f"b{name}"]) for name in "fi")
    h = f / (f + i) * h + i / (f + i) * (w["Wh"] @ x + w["bh"])
    return h, h


def indrnn(w, x, h):
    h = relu(w["W"] @ x + w["u"] * h + w["b"])
    return h, h


def sru(w, x, c):
    # Lei et al. 2017, eqs. 1-4
    f = σ(w["Wf"] @ x + w["vf"] * c + w["bf"])
    new = f * c + (1 - f) * (w["W"] @ x)
    r = σ(w["Wr"] @ x + w["vr"] * c + w["br"])
    return r * new + (1 - r) * x, new


def qrnn(w, x, state):
    before, c = state
    z, f, o = (
        act(w[f"W{name}"] @ x + w[f"V{name}"] @ before + w[f"b{name}"])
        for name, act in (("z", tanh), ("f", σ), ("o", σ))
    )
    c = f * c + (1 - f) * z
    return o * c, (x, c)


def leaky(w, x, h, rate=0.5, act=tanh):
    h = (1 - rate) * h + rate * act(w["W"] @ h + w["U"] @ x + w["b"])
    return h, h


def rhn(w, x, s, layers=2):
    # Zilly et al. 2017, eqs. 6-9, with c = 1 - t
    for k in range(1, layers + 1):
        first = k == 1
        h = tanh((w["Wh"] @ x if first else 0) + w[f"Rh_{k}"] @ s + w[f"bh_{k}"])
        t = σ((w["Wt"] @ x if first else 0) + w[f"Rt_{k}"] @ s + w[f"bt_{k}"])
        s = h * t + s * (1 - t)
    return s, s


def reservoir(w, x, h, rate=1.0, gain=0.5):
    h = (1 - rate) * h + rate * tanh(w["W"] @ h + gain * (w["U"] @ x) + w["b"])
    return h, h
