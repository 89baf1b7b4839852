"""Every operator of the library is what its paper says, written again in NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import rnnc
from rnnc.grammar.source import Source
from rnnc.operators.analyse import analyse
from rnnc.operators.modules import LIBRARY

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


SUMMARY = "state h: real[6]\noutput y: real[6]\nh' = x ⊕ h\ny = h'\n"
PAIR = "state h, c: real[6]\noutput y: real[6]\n(h', c') = x ⊕ (h, c)\ny = h'\n"
READ = "state h: real[6]\noutput y: real[6]\nh' = x\ny = ▷ h'\n"
CASES: list[tuple[str, str, str, str, Callable[..., Any], dict[str, Any]]] = [
    # module, operator, arguments of the template, wiring, NumPy, its arguments
    ("deep", "plain", "", SUMMARY, plain, {}),
    ("deep", "plain", "act = relu", SUMMARY, plain, {"act": relu}),
    ("deep", "deep", "", SUMMARY, deep, {}),
    ("deep", "deep", "layers = 1", SUMMARY, deep, {"layers": 1}),
    ("deep", "deep", "layers = 3, width = 4", SUMMARY, deep, {"layers": 3}),
    (
        "deep",
        "deep",
        "layers = 4, width = 3, shortcut = 1, act = sigmoid",
        SUMMARY,
        deep,
        {"layers": 4, "shortcut": True, "act": σ},
    ),
    ("deep", "deep_output", "", READ, deep_output, {}),
    ("deep", "deep_output", "layers = 1", READ, deep_output, {"layers": 1}),
    (
        "deep",
        "deep_output",
        "layers = 3, width = 4, act = relu",
        READ,
        deep_output,
        {"layers": 3, "act": relu},
    ),
    ("units", "maxout_units", "k = 3", READ, maxout_units, {"k": 3}),
    ("units", "lp_units", "k = 3", READ, lp_units, {"k": 3}),
    ("units", "deep_lp", "k = 3, width = 5", SUMMARY, deep_lp, {"k": 3}),
    ("units", "deep_maxout", "k = 3, width = 5", READ, deep_maxout, {"k": 3}),
    ("units", "deep_lp", "layers = 3", SUMMARY, deep_lp, {"layers": 3}),
    ("units", "deep_maxout", "layers = 3", READ, deep_maxout, {"layers": 3}),
    ("gated", "lstm", "", PAIR, lstm, {}),
    ("gated", "lstm_peephole", "", PAIR, lstm_peephole, {}),
    ("gated", "lstm_coupled", "", PAIR, lstm_coupled, {}),
    ("gated", "lstm_norm", "", PAIR, lstm_norm, {}),
    ("gated", "gru", "", SUMMARY, gru, {}),
    ("gated", "gru_before", "", SUMMARY, gru_before, {}),
    ("gated", "pru", "", SUMMARY, pru, {}),
    ("gated", "mgu", "", SUMMARY, mgu, {}),
    ("linear", "mingru", "", SUMMARY, mingru, {}),
    ("linear", "minlstm", "", SUMMARY, minlstm, {}),
    ("linear", "indrnn", "", SUMMARY, indrnn, {}),
    ("linear", "sru", "", "state c: real[6]\noutput y: real[6]\n(y, c') = x ⊕ c\n", sru, {}),
    (
        "linear",
        "qrnn",
        "",
        "state c: real[6]\noutput y: real[6]\n(y, c') = (x, x[t-1]) ⊕ c\n",
        qrnn,
        {},
    ),
    ("linear", "leaky", "rate = 0.3, act = relu", SUMMARY, leaky, {"rate": 0.3, "act": relu}),
    ("highway", "rhn", "", SUMMARY, rhn, {}),
    ("highway", "rhn", "layers = 4", SUMMARY, rhn, {"layers": 4}),
    ("reservoir", "reservoir", "links = 3, rate = 0.7", SUMMARY, reservoir, {"rate": 0.7}),
]


def operators() -> set[str]:
    """The named operators that the library has."""
    found: set[str] = set()
    for path in LIBRARY.glob("*.rnn"):
        found |= set(re.findall(r"^operator (\w+)\(", path.read_text(encoding="utf-8"), re.M))
    return found


def test_every_operator_of_the_library_is_tested():
    assert operators() == {name for _, name, *_ in CASES}


def compiled(module: str, name: str, arguments: str, wiring: str) -> torch.nn.Module:
    symbol = "▷" if "▷" in wiring else "⊕"
    template = f"{name}({arguments})" if arguments else name
    text = f"use {name} from {module}\ninput x: real[6]\noperator {symbol} = {template}\n{wiring}"
    torch.manual_seed(0)
    model = rnnc.compile(text).double()
    with torch.no_grad():
        for parameter in model.parameters():
            # Away from zero biases and equal starts, which would hide a mistake.
            parameter.copy_(0.8 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(("module", "name", "arguments", "wiring", "step", "more"), CASES)
def test_an_operator_is_its_paper(module, name, arguments, wiring, step, more):
    model = compiled(module, name, arguments, wiring).eval()
    weights = {
        key.split(".", 1)[1]: value.detach().numpy() for key, value in model.named_parameters()
    }
    x = torch.randn(7, 1, 6).double()
    y = model(x)[0][:, 0].detach().numpy()
    zero = np.zeros(6)
    state: Any = (zero, zero) if step in {qrnn} or wiring == PAIR else zero
    for t in range(7):
        now = x[t, 0].numpy()
        expected, state = step(weights, now, now if wiring == READ else state, **more)
        np.testing.assert_allclose(y[t], expected, rtol=1e-11, atol=1e-12)


def test_a_changed_weight_is_seen_by_every_comparison():
    # Each parameter of each operator matters to what is compared.
    for module, name, arguments, wiring, *_ in CASES:
        model = compiled(module, name, arguments, wiring).eval()
        x = torch.randn(7, 1, 6).double()
        y = model(x)[0]
        for key, parameter in model.named_parameters():
            before = parameter.detach().clone()
            with torch.no_grad():
                parameter += 0.1 * torch.randn_like(parameter)
            assert not torch.allclose(model(x)[0], y, rtol=1e-9), (name, key)
            with torch.no_grad():
                parameter.copy_(before)


def graph_of(text: str):
    return analyse(Source(text, "spec")).require()


def test_initial_values_and_annotations():
    head = "input x: real[12]\n"
    pair = PAIR.replace("6", "12")
    lstm = rnnc.compile(
        f"use lstm from gated\n{head}operator ⊕ = lstm(forget = 3, drop = 0.25)\n{pair}"
    )
    assert lstm.get_parameter("plus.bf").tolist() == [3.0] * 12
    drops = {p.name: p.weightdrop for p in lstm.graph.parameters if p.weightdrop}
    assert drops == {f"plus.U{gate}": 0.25 for gate in "ifgo"}
    summary = SUMMARY.replace("6", "12")
    model = rnnc.compile(
        f"use reservoir from reservoir\n{head}"
        f"operator ⊕ = reservoir(links = 5, rho = 0.7)\n{summary}"
    )
    W = model.get_parameter("plus.W").detach()
    assert (W != 0).sum(-1).tolist() == [5] * 12
    assert torch.linalg.eigvals(W.double()).abs().max().item() == pytest.approx(0.7, rel=1e-5)
    assert not any(p.requires_grad for p in model.parameters())
    units = rnnc.compile(
        f"use lp_units from units\n{head}operator ▷ = lp_units\n{READ}".replace("6", "12")
    )
    # Gulcehre et al. 2014: norms begin at about 3.
    p = 1 + torch.nn.functional.softplus(units.get_parameter("predict.ρ"))
    assert p.detach().numpy() == pytest.approx(3, abs=0.01)


def test_forget_gates_begin_open_and_highways_closed():
    head = "input x: real[6]\n"
    model = rnnc.compile(f"use rhn from highway\n{head}operator ⊕ = rhn(layers = 3)\n{SUMMARY}")
    for k in (1, 2, 3):
        assert model.get_parameter(f"plus.bt_{k}").tolist() == [-2.0] * 6


def test_a_size_bound_by_an_operand_may_be_a_default():
    text = """
    input x: real[3]
    state h: real[5]
    operator wide(x, h: real[n], width = n):
        z: real[width] = tanh(W h + U x + b)
        V z
    operator ⊕ = wide
    operator ⊗ = wide(width = 7)
    output y: real[5]
    h' = x ⊕ h
    y = x ⊗ h
    """
    shapes = {p.name: p.shape for p in graph_of(text).parameters}
    assert shapes["plus.V"] == (5, 5)
    assert shapes["times.V"] == (5, 7)


def test_conditions_negate_and_lists_end_in_commas():
    text = """
    model small(
        deep = 0,
        units = 4,
    ):
        input x: real[3]
        output y: real[units]
        if not deep:
            y = W x
        else:
            y = W tanh(V x)
            param V: real[9, 3]
    """
    assert [p.shape for p in graph_of(text).parameters] == [(4, 3)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("use lstn from gated\noperator ⊕ = lstn\n", "RNN210"),
        ("use lstm from gatted\noperator ⊕ = lstm\n", "RNN210"),
        ("use deep from deep\noperator ⊕ = deep(depth = 3)\n", "RNN208"),
        ("use deep from deep\noperator ⊕ = deep(3)\n", "RNN208"),
        ("use deep from deep\noperator ⊕ = deep(act = nothing)\n", "RNN208"),
        ("use deep from deep\noperator ⊕ = deep(layers = 2.5)\n", "RNN213"),
        ("use lstm from gated\noperator ⊕ = lstm\n", "RNN307"),
    ],
)
def test_mistakes(text, code):
    spec = text + "input x: real[6]\n" + SUMMARY
    assert code in [d.code for d in analyse(Source(spec, "spec")).diagnostics]


def test_a_file_that_uses_itself_or_is_missing(tmp_path):
    path = tmp_path / "circle.rnn"
    path.write_text("use f from circle\n" + "input x: real[6]\n" + SUMMARY)
    codes = [d.code for d in analyse(Source(path.read_text(), "circle.rnn", path)).diagnostics]
    assert "RNN210" in codes
