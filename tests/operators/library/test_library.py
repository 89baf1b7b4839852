"""Operators of the library, compared with their papers written again in NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import rnnc
from rnnc.operators.graph.user_spans import LIBRARY
from support.library_cells import (
    PAIR,
    READ,
    SUMMARY,
    deep,
    deep_lp,
    deep_maxout,
    deep_output,
    gru,
    gru_before,
    indrnn,
    leaky,
    lp_units,
    lstm,
    lstm_coupled,
    lstm_norm,
    lstm_peephole,
    maxout_units,
    mgu,
    mingru,
    minlstm,
    plain,
    pru,
    qrnn,
    relu,
    reservoir,
    rhn,
    sru,
    σ,
)

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
    """Return the named operators of the library."""
    names: set[str] = set()
    for path in LIBRARY.glob("*.rnn"):
        names |= set(re.findall(r"^operator (\w+)\(", path.read_text(encoding="utf-8"), re.M))
    return names


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
