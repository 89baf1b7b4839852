"""Check finite differences: no false alarm, and every wrong gradient detected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.conformance.report import Finding, Report
from rnnc.compiler.conformance.verify import Verification
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.semantics import interpreter

HEAD = "input x: real[2]\nstate h: real[4]\noutput y: real[4]\n"
STOPPED = HEAD + "h' = tanh(W h + U x) ⊙ stopgrad(σ(V h + U x))\ny = h' + stopgrad(h[t-2])\n"
HELD = {
    "a state": STOPPED,
    "a parameter": HEAD + "param a: vector\nh' = tanh(W h + U x) ⊙ stopgrad(a) + a\ny = h'\n",
    "an input in a window": HEAD + "M = x[t-2..t]\nh' = tanh(U x + W h)\n"
    "y = [Mᵀ softmax(M stopgrad(x[t-1])) ; Mᵀ (M x)]\n",
    "a loss": HEAD + "h' = tanh(W h + U x)\ny = h'\nloss sum(h' ⊙ stopgrad(h')) weight 0.5\n",
    "a law": HEAD + "h' = x ⊕ h\ny = h'\nlaw x ⊕ (x[t-1] ⊕ h) ≈ x[t-1] ⊕ (x ⊕ h) weight 0.1\n",
    "a backward state": "input x: real[2]\nstate g: real[3]\noutput y: real[3]\n"
    "g[t] = tanh(W g[t+1] + U x) + stopgrad(V x)\ny = g'\n",
}
DRAWN = {
    "dropout": HEAD + "h' = tanh(W h + U dropout(0.3, x))\ny = variational(0.4, h')\n",
    "zoneout": HEAD + "h' = zoneout(0.4, tanh(W h + U x), h)\ny = h'\n",
    "weightdrop": HEAD + "param W: weightdrop(0.5)\nh' = tanh(W h + U x)\ny = h'\n",
    "a drawn start": "input x: real[2]\nstate h: real[3] = uniform(-1, 1)\noutput y: real[3]\n"
    "h' = tanh(W h + U x)\ny = h'\n",
}
CORNERS = {
    "relu": "input x: binary[2]\nstate h: real[3]\noutput y: real[3]\n"
    "h' = relu(W h + U x)\ny = abs(V h')\n",
    "maxout": "input x: binary[4]\nstate h: real[2]\noutput y: real[2]\n"
    "h' = maxout(2, W h + U x)\ny = h' ⊙ maxout(2, x)\n",
    "symbols": "input x: symbol[3]\nstate h: real[2]\noutput y: real[2]\n"
    "h' = maxout(2, relu(W h + U x))\ny = abs(h')\n",
}


def verified(text: str, seconds: float = 60.0) -> Report:
    graph = analyze(Source(text)).require_graph()
    verification = Verification(graph, backends=("reference",), seconds=seconds)
    return verification.run(lambda name: None, lambda finding: None, lambda place, case: "again")


def found(report: Report) -> Finding:
    (finding,) = (f for f in report.findings if f.name.startswith("finite differences"))
    return finding


@pytest.mark.parametrize("text", [*HELD.values(), *DRAWN.values()], ids=[*HELD, *DRAWN])
def test_what_is_held_or_drawn_gives_no_false_alarm(text: str) -> None:
    report = verified(text)
    assert report, report
    finding = found(report)
    assert (finding.status, finding.detail) == ("ok", "")
    assert finding.seen > 8


@pytest.mark.parametrize("text", CORNERS.values(), ids=CORNERS)
def test_corners_give_no_false_alarm(text: str) -> None:
    report = verified(text)
    assert report, report
    assert found(report).status == "ok"


@pytest.mark.parametrize("text", [v for k, v in HELD.items() if k != "a law"])
def test_a_stopgrad_that_stops_nothing_is_found(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setitem(interpreter.UNARY_OPS, "stopgrad", lambda z: z)
    finding = found(verified(text))
    assert finding.status == "failed"
    assert "finite differences give" in finding.detail


def gradient_of(scale: Callable[[Tensor], Tensor], value: Callable[[Tensor], Tensor]) -> Any:
    """A function with a derivative of its own."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            ctx.save_for_backward(z)
            return value(z)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (z,) = ctx.saved_tensors
            return gradient * scale(z)

    return Own.apply


@pytest.mark.parametrize(
    ("text", "name", "wrong"),
    [
        (STOPPED, "tanh", gradient_of(lambda z: 1.001 - z.tanh() ** 2, torch.tanh)),
        (CORNERS["relu"], "relu", gradient_of(torch.ones_like, torch.relu)),
        (CORNERS["relu"], "abs", gradient_of(torch.ones_like, torch.abs)),
        (CORNERS["symbols"], "abs", gradient_of(lambda z: 1.01 * z.sign(), torch.abs)),
        (DRAWN["dropout"], "tanh", gradient_of(lambda z: 1 - z.tanh(), torch.tanh)),
    ],
)
def test_a_wrong_gradient_is_found(
    monkeypatch: pytest.MonkeyPatch, text: str, name: str, wrong: Any
) -> None:
    monkeypatch.setitem(interpreter.UNARY_OPS, name, wrong)
    finding = found(verified(text))
    assert finding.status == "failed"
    assert finding.case.startswith("T=1,B=1")
    assert "gradient of " in finding.detail


CORNER = "input x: real[2]\noutput y: real[2]\ny = relu(b) + tanh(W x)\n"


def test_a_direction_with_a_corner_is_set_aside_and_said() -> None:
    # Its b is 0, where relu has a corner.
    model = rnnc.compile(CORNER, backend="reference").double()
    finding = found(rnnc.verify(model, seconds=60))
    assert finding.status == "ok"
    assert finding.detail.startswith("set aside, for a corner: b, at ")


def test_beside_a_corner_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = rnnc.compile(CORNER, backend="reference").double()
    monkeypatch.setitem(interpreter.UNARY_OPS, "tanh", gradient_of(torch.ones_like, torch.tanh))
    finding = found(rnnc.verify(model, seconds=60))
    assert finding.status == "failed"
    assert finding.detail.startswith("gradient of W is ")
