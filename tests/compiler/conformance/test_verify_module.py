"""Check `rnnc.verify` on a module as it is, which it must not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.registry import BACKENDS
from rnnc.compiler.conformance import budget
from support.faults.faulty_backend import faulty_backend

TEXT = "input x: real[2]\nstate h: real[3]\noutput y: real[3]\nh' = tanh(W h + U x + b)\n"
TEXT += "y = dropout(0.4, h')\n"


def names(report: Any) -> dict[str, str]:
    return {finding.name: finding.status for finding in report.findings}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_right_module_passes(dtype: torch.dtype) -> None:
    model = rnnc.compile(TEXT, backend="aten").to(dtype)
    report = rnnc.verify(model, seconds=60)
    assert report, report
    assert report.complete
    where = str(dtype).removeprefix("torch.")
    assert names(report)[f"against the reference: aten, {where}"] == "ok"
    assert "nothing is off" in str(report)
    assert repr(report) == str(report)


def test_its_own_weights_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        BACKENDS,
        "planted",
        faulty_backend("output", lambda call: bool(call.parameters["b"].sum() == 7)),
    )
    model = rnnc.compile(TEXT, backend="planted")
    assert rnnc.verify(model, seconds=60)
    with torch.no_grad():
        model.b.copy_(torch.tensor([2.0, 2.0, 3.0]))
    report = rnnc.verify(model, seconds=60)
    assert not report
    assert report.failed[0].name == "against the reference: planted, float32"
    assert report.failed[0].show == 'rnnc.verify(model, case="T=1,B=1")'
    second_report = rnnc.verify(model, case="T=1,B=1", seconds=60)
    assert second_report.failed[0].detail == report.failed[0].detail
    assert second_report.failed[0].detail in str(second_report)


@pytest.mark.parametrize(
    "text", [TEXT, TEXT.replace("output y: real[3]", "output y: real[3] at end")]
)
def test_rows_first_are_checked_as_such(text: str) -> None:
    report = rnnc.verify(rnnc.compile(text, backend="aten", batch_first=True), seconds=60)
    assert report, report
    assert {finding.status for finding in report.findings} == {"ok"}


def test_a_fault_of_rows_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = faulty_backend("output", lambda call: not call.inputs["x"].is_contiguous())
    monkeypatch.setitem(BACKENDS, "planted", faulty)
    assert rnnc.verify(rnnc.compile(TEXT, backend="planted"), seconds=60)
    report = rnnc.verify(rnnc.compile(TEXT, backend="planted", batch_first=True), seconds=60)
    assert report.failed[0].case == "T=2,B=2"


def test_a_model_without_inputs_has_nothing_to_check() -> None:
    text = "state h: real[2]\noutput y: real[2]\nh' = tanh(W h + b)\ny = h'\n"
    report = rnnc.verify(rnnc.compile(text, backend="aten"))
    assert not report
    assert {f.detail for f in report.findings} == {"the model has no input, and so no steps"}


def test_its_own_options_are_checked() -> None:
    model = rnnc.compile(TEXT, backend="aten", memory="recompute", without=["stack"])
    backends: list[Any] = []
    (backend,) = model.backends.candidates
    forward = backend.forward
    backend.forward = lambda *given: backends.append(given) or forward(*given)  # type: ignore[method-assign, func-returns-value]
    assert rnnc.verify(model, seconds=60)
    assert backends


def test_the_module_is_left_as_it_was() -> None:
    model = rnnc.compile(TEXT, backend="aten")
    model.eval()
    model.b.requires_grad_(False)
    y, _ = model(torch.randn(3, 2, 2))
    y.sum().backward()
    before = {name: (p.clone(), p.grad) for name, p in model.named_parameters()}
    attributes, chance = dict(model.__dict__), torch.get_rng_state()
    with torch.no_grad():
        assert rnnc.verify(model, seconds=60)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(model.__dict__[name] is value for name, value in attributes.items())
    assert not model.training
    assert not model.b.requires_grad
    for name, parameter in model.named_parameters():
        value, gradient = before[name]
        assert torch.equal(parameter, value)
        assert parameter.grad is gradient


def test_frozen_and_parametrised_weights_are_those_that_a_call_sees() -> None:
    model = rnnc.compile(TEXT, backend="aten")
    torch.nn.utils.parametrizations.orthogonal(model, "W")
    model.U.requires_grad_(False)
    report = rnnc.verify(model, seconds=60)
    assert report, report


def test_weights_that_are_no_numbers_leave_nothing_to_check() -> None:
    model = rnnc.compile(TEXT, backend="aten")
    with torch.no_grad():
        model.b.fill_(torch.nan)
    report = rnnc.verify(model, seconds=60)
    assert not report
    assert not report.failed
    assert report.summary == "spec: nothing was checked"
    assert "is no number on the reference" in str(report)


def test_what_was_not_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(budget, "cpu_seconds", lambda: next(clock) / 10)
    report = rnnc.verify(rnnc.compile(TEXT, backend="aten"), seconds=1.5)
    statuses = [finding.status for finding in report.findings]
    assert report
    assert not report.complete
    assert statuses[-1] == "unfinished"
    assert report.findings[-1].seen == 0
    assert report.findings[0].seen >= 1
    assert "rows alone: reference, float64 … unfinished: no time for it" in str(report)
    assert "in what was reached" in report.summary


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": torch.nn.Linear(2, 2)}, "model: expected a module that rnnc.compile made"),
        ({"seconds": 0}, "seconds: expected a number above 0, got 0"),
        ({"seconds": True}, "seconds: expected"),
        ({"seconds": float("nan")}, "seconds: expected"),
        ({"case": "all"}, "case: expected T=…"),
        ({"model": rnnc.compile(TEXT, backend="reference").to("meta")}, "got one on meta"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], said: str) -> None:
    model = given.pop("model", rnnc.compile(TEXT, backend="reference"))
    with pytest.raises(ValueError, match=said):
        rnnc.verify(model, **given)
