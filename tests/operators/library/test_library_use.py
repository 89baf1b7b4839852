"""Uses of the library's operators: annotations, sizes, conditions, and mistakes."""

from __future__ import annotations

import pytest
import torch

import rnnc
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from support.library_cells import PAIR, READ, SUMMARY


def graph_of(text: str):
    return analyze(Source(text, "spec")).require_graph()


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
    assert code in [d.code for d in analyze(Source(spec, "spec")).diagnostics]


def test_a_file_that_uses_itself_or_is_missing(tmp_path):
    path = tmp_path / "circle.rnn"
    path.write_text("use f from circle\n" + "input x: real[6]\n" + SUMMARY)
    codes = [d.code for d in analyze(Source(path.read_text(), "circle.rnn", path)).diagnostics]
    assert "RNN210" in codes
