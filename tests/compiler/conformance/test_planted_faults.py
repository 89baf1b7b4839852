"""Check that each check of `verify` detects a planted fault, and shrinks its case."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rnnc.compiler.autodiff import vjp_rules
from rnnc.compiler.backends.registry import BACKENDS
from rnnc.compiler.conformance.budget import Budget
from rnnc.compiler.conformance.cases import CASES, Case
from rnnc.compiler.conformance.check_list import build_checks
from rnnc.compiler.conformance.check_runner import run_checks
from rnnc.compiler.conformance.random_arguments import draw_weights
from rnnc.compiler.conformance.report import Finding, Report
from rnnc.compiler.conformance.subject import ExecutionTarget, Subject
from rnnc.compiler.conformance.verify import Verification
from rnnc.compiler.module.call_cache import CallCache
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.semantics import interpreter
from rnnc.operators.semantics.call import Call
from rnnc.operators.semantics.segments import Segments
from support.faults.faulty_backend import CallPredicate, faulty_backend

PLAIN = "input x: real[2]\nstate h: real[3] = learned\nh' = tanh(W h + U x + b)\nx' = V h'\n"
DELAYED = "input x: real[2]\nstate h: real[2]\noutput y: real[2]\nh' = tanh(U x) ⊙ h[t-4]\ny = h'\n"
SYMBOLS = "input x: symbol[3]\nstate h: real[2]\nh' = tanh(W h + U x)\nx' = V h'\n"
LAW = "input x: real[2]\nstate h: real[2]\nh' = x ⊕ h\nx' = V h'\nlaw x ⊕ h ≈ h weight 0.1\n"
LOSS = "input x: real[2]\nstate h: real[2]\nh' = x ⊕ h\nx' = V h'\nloss sum(h') weight 0.1\n"


def verified(text: str, backend: str, cases: tuple[Case, ...] = CASES) -> Report:
    graph = analyze(Source(text)).require_graph()
    verification = Verification(graph, backends=(backend,), cases=cases, seconds=60)
    return verification.run(lambda name: None, lambda finding: None, lambda place, case: "again")


def failures(text: str, backend: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in verified(text, backend, CASES[:6]).failed}


def against_reference(text: str, backend: str) -> list[Finding]:
    """What that check finds in float64 and in float32."""
    graph = analyze(Source(text)).require_graph()
    subject = Subject(graph, draw_weights(graph), frozenset(graph.parameters_by_name))
    cpu = torch.device("cpu")
    targets = [ExecutionTarget(backend, cpu, dtype) for dtype in (torch.float64, torch.float32)]
    checks = [c for c in build_checks(subject, targets) if c.kind == "against the reference"]
    return list(run_checks(checks, Budget(60), lambda name: None, lambda place, case: "again"))


@pytest.mark.parametrize("text", [PLAIN, DELAYED, SYMBOLS, LAW, LOSS])
def test_nothing_planted_is_nothing_found(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("nothing"))
    report = verified(text, "planted")
    assert report, report
    assert report.complete
    assert {finding.status for finding in report.findings} == {"ok"}


def is_single(call: Call) -> bool:
    return next(iter(call.parameters.values())).dtype == torch.float32


def goes_on(call: Call) -> bool:
    return any(not torch.equal(call.carry[n][-1], call.initial_values[n]) for n in call.carry)


def has_resets(call: Call) -> bool:
    return call.resets is not None and bool(call.resets.any())


def has_resets_that_are_false(call: Call) -> bool:
    return call.resets is not None and not call.resets.any()


def has_an_empty_row(call: Call) -> bool:
    return call.lengths is not None and bool((call.lengths == 0).any())


def has_no_symbol(call: Call) -> bool:
    return bool((call.inputs["x"] == -1).any())


def has_nan_in_padding(call: Call) -> bool:
    return call.lengths is not None and bool(call.inputs["x"].isnan().any())


CALLS: list[tuple[str, CallPredicate, str]] = [
    (PLAIN, lambda call: call.steps == 1 and call.batch_size == 1, "T=1,B=1"),
    (PLAIN, lambda call: call.steps == 6, "T=6,B=1"),
    (PLAIN, lambda call: call.batch_size == 3, "T=1,B=3"),
    (PLAIN, lambda call: call.batch_size > 1 and call.steps > 1, "T=2,B=2"),
    (PLAIN, goes_on, "T=1,B=1,carry"),
    (PLAIN, has_resets, "T=1,B=1,resets"),
    (PLAIN, has_resets_that_are_false, "T=1,B=1,resets=False"),
    (PLAIN, lambda call: call.lengths is not None, "T=1,B=1,lengths"),
    (PLAIN, has_an_empty_row, "T=1,B=1,lengths"),
    (PLAIN, has_nan_in_padding, "T=1,B=1,lengths"),
    (
        DELAYED,
        lambda call: call.steps < 4 and has_resets_that_are_false(call) and goes_on(call),
        "T=1,B=1,resets=False,carry",
    ),
    (SYMBOLS, lambda call: call.steps * call.batch_size > 1 and has_no_symbol(call), "T=1,B=2"),
]


@pytest.mark.parametrize(("text", "when", "smallest"), CALLS)
def test_a_fault_in_a_kind_of_call(
    monkeypatch: pytest.MonkeyPatch, text: str, when: CallPredicate, smallest: str
) -> None:
    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("output", when))
    for finding in against_reference(text, "planted"):
        assert finding.case == smallest
        assert finding.detail.startswith("output ")


@pytest.mark.parametrize(
    ("text", "what", "detail"),
    [
        (PLAIN, "output", "output x'"),
        (PLAIN, "state", "state h"),
        (PLAIN, "gradient parameter", "gradient of "),
        (PLAIN, "gradient initial", "gradient of init.h"),
        (PLAIN, "gradient input", "gradient of input x"),
        (DELAYED, "gradient history", "gradient of state h"),
        (LAW, "law", "law 0"),
        (LOSS, "kept", "loss"),
    ],
)
def test_a_fault_in_a_value_or_gradient(
    monkeypatch: pytest.MonkeyPatch, text: str, what: str, detail: str
) -> None:
    monkeypatch.setitem(BACKENDS, "planted", faulty_backend(what))
    for finding in against_reference(text, "planted"):
        assert finding.detail.startswith(detail)


def test_a_fault_in_float32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("output", is_single))
    findings = failures(PLAIN, "planted")
    assert "against the reference: planted, float32" in findings
    assert not any("float64" in name for name in findings)


def test_a_fault_without_gradients_or_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        BACKENDS, "planted", faulty_backend("output", lambda call: not call.training)
    )
    findings = failures(PLAIN, "planted")
    assert findings["step by step: planted, float64"].case == "T=2,B=1"
    assert not any(name.startswith("against the reference") for name in findings)


def test_a_fault_in_the_short_way_of_a_known_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(
        self: CallCache, x: Any, state: Any, *, training: bool, step: bool
    ) -> list[Tensor] | None:
        if not step or torch.is_grad_enabled():
            return None
        return [torch.zeros_like(x["x"]), torch.zeros(len(x["x"]), 3, dtype=x["x"].dtype)]

    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("nothing"))
    monkeypatch.setattr(CallCache, "try_call", run)
    findings = failures(PLAIN, "planted")
    assert findings["step by step: planted, float64"].case == "T=2,B=1"


def test_a_backend_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: Call) -> bool:
        raise AssertionError("of all things")

    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("output", fail))
    findings = failures(PLAIN, "planted")
    finding = findings["against the reference: planted, float64"]
    assert (finding.case, finding.detail) == ("T=1,B=1", "raises AssertionError: of all things")


def test_a_backend_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(graph: Any, options: Any) -> Any:
        raise AssertionError("of all things")

    monkeypatch.setitem(BACKENDS, "planted", fail)
    (finding,) = verified(PLAIN, "planted").failed
    assert finding.detail == "raises AssertionError: of all things"


def test_a_wrong_rule_of_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(m: Any, z: Any, y: Any) -> Any:
        return m.create("one_minus", y)

    monkeypatch.setitem(vjp_rules.VJP_RULES, "tanh", vjp_rules._elementwise_vjp(wrong))
    findings = failures(PLAIN, "aten")
    finding = findings["against the reference: aten, float64"]
    assert finding.case == "T=1,B=1"
    assert finding.detail.startswith("gradient of ")


def test_a_state_that_does_not_carry_on_what_the_whole_has(monkeypatch: pytest.MonkeyPatch) -> None:
    # In the reference, which the backend is: no comparison of equal calls can see it.
    monkeypatch.setattr(
        Segments, "next_carry", lambda self, node, series: self.call.carry[self._names[node]]
    )
    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("nothing"))
    findings = failures(PLAIN, "planted")
    assert not any(name.startswith("against the reference") for name in findings)
    for where in ("planted, float64", "planted, float32", "reference, float64"):
        assert findings[f"step by step: {where}"].case == "T=2,B=1"
        assert findings[f"parts against the whole: {where}"].case == "T=2,B=1"
        assert f"rows alone: {where}" not in findings


def test_gradients_that_do_not_pass_from_part_to_part(monkeypatch: pytest.MonkeyPatch) -> None:
    next_carry = Segments.next_carry
    monkeypatch.setattr(
        Segments, "next_carry", lambda self, node, series: next_carry(self, node, series).detach()
    )
    findings = failures(PLAIN, "reference")
    finding = findings["parts against the whole: reference, float64"]
    assert finding.case == "T=2,B=1"
    assert finding.detail.startswith("gradient of ")


def test_rows_that_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        interpreter.UNARY_OPS, "tanh", lambda z: z.tanh() + 0.01 * z.mean(0, keepdim=True)
    )
    monkeypatch.setitem(BACKENDS, "planted", faulty_backend("nothing"))
    findings = failures(PLAIN, "planted")
    assert not any(name.startswith(("against", "parts", "step")) for name in findings)
    for where in ("planted, float64", "planted, float32", "reference, float64"):
        assert findings[f"rows alone: {where}"].case == "T=1,B=2"


class _TooMuch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.rows = len(z)
        return z.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.rows


def test_gradients_that_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(interpreter.UNARY_OPS, "tanh", lambda z: _TooMuch.apply(z.tanh()))
    findings = failures(PLAIN, "reference")
    finding = findings["rows alone: reference, float64"]
    assert finding.case == "T=1,B=2"
    assert "gradient of " in finding.detail
