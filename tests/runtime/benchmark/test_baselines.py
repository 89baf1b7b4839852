"""Every baseline computes the same function, and a wrong one is detected."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.errors import Unsupported
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.benchmark import correctness
from rnnc.runtime.benchmark.baselines import gemm_floor
from rnnc.runtime.benchmark.baselines.cell import extract_cell
from rnnc.runtime.benchmark.baselines.compiled_cell import cell_candidate, eager_cell
from rnnc.runtime.benchmark.baselines.gemm_floor import required_gemms, total_flops
from rnnc.runtime.benchmark.baselines.jax_scan import jax_scan
from rnnc.runtime.benchmark.baselines.peak_flops import MicroKernel
from rnnc.runtime.benchmark.baselines.registry import CANDIDATES
from rnnc.runtime.benchmark.baselines.torch_layers import match_torch_layers, torch_layers
from rnnc.runtime.benchmark.correctness import (
    TOLERANCE,
    compute_reference,
    describe_mismatch,
    relative_error,
)
from rnnc.runtime.benchmark.workload.candidate import Candidate, StepResult, Unavailable
from rnnc.runtime.benchmark.workload.candidate_names import (
    BACKEND_NAMES,
    CANDIDATE_NAMES,
    FLOOR_NAMES,
)
from rnnc.runtime.benchmark.workload.workload import Workload, make_workload

HAS_JAX = importlib.util.find_spec("jax") is not None
BARE = "input x: real[7]\nstate h: real[5]\noutput y: real[5]\nh' = x ⊕ h\ny = h'\n"
NO_CELL = {
    "awd_lstm": "draws masks",
    "bigru": "runs backward",
    "bilstm": "runs backward",
    "birnn": "runs backward",
    "cb_rnn": "is drawn",
    "dots_lp": "draws masks",
    "pointer_sentinel_lstm": "a window",
}


def made(spec: str, steps: int = 4, rows: int = 3, **sizes: Any) -> Workload:
    return make_workload(rnnc.compile(spec, backend="reference", **sizes).program, steps, rows)


def zoo(name: str, **sizes: int) -> Workload:
    try:
        return made(f"zoo:{name}", hidden=8, **sizes)
    except rnnc.RnnError:
        return made(f"zoo:{name}", **sizes)


def test_names_and_makers_belong_together() -> None:
    assert tuple(CANDIDATES) == CANDIDATE_NAMES


@pytest.mark.parametrize("name", sorted(set(zoo_names()) - set(NO_CELL)))
def test_a_plain_cell_is_the_model(name: str) -> None:
    workload = zoo(name)
    assert describe_mismatch(eager_cell(workload), compute_reference(workload)) == ""


@pytest.mark.parametrize("name", NO_CELL)
def test_what_has_no_cell_says_why(name: str) -> None:
    with pytest.raises(Unavailable, match=NO_CELL[name]):
        eager_cell(zoo(name))


SPECS = {
    "past inputs": "input x: real[3]\nstate h: real[4]\nh' = tanh(W h + U x[t-2] + b)\nx' = ▷ h'\n",
    "symbols": "input x: symbol[6]\nstate h: real[4]\nh' = tanh(W h + U x + V x[t-1])\nx' = ▷ h'\n",
    "far states": "input x: real[3]\nstate h: real[4] = learned\n"
    "h' = tanh(W h[t-3] + U x + b)\nx' = ▷ h'\n",
    "an output that looks back": "input x: real[3]\nstate h: real[4]\noutput y: real[2]\n"
    "h' = x ⊕ h\ny = V h' + Z h[t-2]\n",
    "at the end": "input x: real[3]\nstate h: real[4]\noutput y: real[2] at end\n"
    "h' = x ⊕ h\ny = V h'\n",
    "no output layer": BARE,
    "an input alone": "input x: real[3]\nstate h: real[4]\noutput y: real[3]\n"
    "h' = x ⊕ h\ny = tanh(V h') + x\n",
}


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_cells_of_all_kinds_of_reads(text: str) -> None:
    workload = made(text, steps=6)
    assert describe_mismatch(eager_cell(workload), compute_reference(workload)) == ""


def test_the_cell_compiled_by_torch_is_the_model() -> None:
    workload = zoo("gru")
    cell = extract_cell(workload.graph)
    # Inductor itself takes ten seconds and more; what it is given is what counts here.
    step = torch.compile(cell.step, backend="eager", dynamic=False)
    assert (
        describe_mismatch(cell_candidate(workload, cell, step, "", ""), compute_reference(workload))
        == ""
    )


LAYERS = [
    ("lstm", {}),
    ("lstm", {"layers": 2}),
    ("gru", {}),
    ("gru", {"layers": 2}),
    ("rnn", {}),
    ("srnn", {}),
]


@pytest.mark.parametrize(("name", "sizes"), LAYERS, ids=str)
def test_torch_layers_are_the_model(name: str, sizes: dict[str, int]) -> None:
    workload = zoo(name, **sizes)
    assert describe_mismatch(torch_layers(workload), compute_reference(workload)) == ""


def test_torch_layers_without_an_output_layer() -> None:
    workload = made(BARE)
    assert match_torch_layers(workload).output_weight == ""
    assert describe_mismatch(torch_layers(workload), compute_reference(workload)) == ""


@pytest.mark.parametrize(
    ("its", "why"),
    [
        (lambda: zoo("dts_rnn"), "no layers of nn.RNN"),
        (lambda: zoo("gru", before=1), "no layers of nn.RNN"),
        (lambda: zoo("bilstm"), "one direction"),
        (lambda: zoo("lstm", vocab=9), "real numbers"),
        (lambda: made("zoo:lstm", hidden=8, layers=2, drop=0.5), "masks"),
        (lambda: made(BARE.replace("y = h'", "y = tanh(h')")), "neither a layer's state"),
    ],
)
def test_what_torch_has_no_layer_for_says_why(its: Callable[[], Workload], why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        torch_layers(its())


@pytest.mark.skipif(not HAS_JAX, reason="JAX is not installed; the package never needs it")
@pytest.mark.parametrize(("name", "sizes"), LAYERS, ids=str)
def test_the_scan_of_jax_is_the_model(name: str, sizes: dict[str, int]) -> None:
    workload = zoo(name, **sizes)
    assert describe_mismatch(jax_scan(workload), compute_reference(workload)) == ""


def test_without_jax_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jax", None)
    with pytest.raises(Unavailable, match="pip install jax"):
        jax_scan(zoo("lstm"))


def test_every_backend_computes_the_model() -> None:
    workload = zoo("lstm")
    right = compute_reference(workload)
    for name in BACKEND_NAMES[1:]:  # the first runs on GPUs
        assert describe_mismatch(CANDIDATES[name](workload), right) == ""


def test_masks_are_the_same_for_all_backends() -> None:
    workload = made("zoo:lstm", hidden=8, layers=2, drop=0.5)
    assert describe_mismatch(CANDIDATES["aten"](workload), compute_reference(workload)) == ""


def wrong(change: Callable[[StepResult], StepResult]) -> str:
    workload = zoo("rnn")
    right = compute_reference(workload)
    return describe_mismatch(Candidate("", "", int, int, lambda: change(right.result)), right)


def test_a_wrong_output_is_found() -> None:
    mismatch = wrong(lambda right: replace(right, outputs=(right.outputs[0] * (1 + 1e-3) + 1e-3,)))
    assert "output 1 is off" in mismatch


def test_a_wrong_gradient_is_found() -> None:
    def change(right: StepResult) -> StepResult:
        return replace(right, gradients=right.gradients | {"plus.W": -right.gradients["plus.W"]})

    assert "the gradient of plus.W is off" in wrong(change)


def test_a_missing_gradient_is_found() -> None:
    def change(right: StepResult) -> StepResult:
        return replace(right, gradients={n: g for n, g in right.gradients.items() if n != "plus.b"})

    assert wrong(change) == "it does not compute the gradient of plus.b"


def test_a_missing_output_and_one_of_another_shape_are_found() -> None:
    assert "output 1" in wrong(lambda right: replace(right, outputs=()))
    assert "output 1" in wrong(lambda right: replace(right, outputs=(right.outputs[0][1:],)))


def test_rounding_is_excused_where_the_reference_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = zoo("rnn")
    assert compute_reference(workload).tolerance == TOLERANCE
    assert compute_reference(workload).result.outputs[0].dtype == torch.float64
    monkeypatch.setattr(correctness, "relative_error", lambda actual, expected: 1e-3)
    assert compute_reference(workload).tolerance == pytest.approx(4e-3)
    monkeypatch.setattr(correctness, "relative_error", lambda actual, expected: 1.0)
    assert compute_reference(workload).tolerance == 1e-2


def test_a_drawn_initial_state_is_the_same_for_all() -> None:
    workload = made("input x: real[3]\nstate h: real[4] = uniform(0, 1)\nh' = x ⊕ h\nx' = ▷ h'\n")
    assert describe_mismatch(CANDIDATES["aten"](workload), compute_reference(workload)) == ""


def test_what_is_no_number_is_infinitely_wrong() -> None:
    a = torch.tensor([1.0, float("nan")])
    assert relative_error(a, torch.ones(2)) == float("inf")
    assert relative_error(a, a) == 0
    assert relative_error(torch.empty(0), torch.empty(0)) == 0


def test_a_baseline_with_other_weights_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = zoo("lstm")
    right = compute_reference(workload)
    with torch.no_grad():
        next(workload.model.parameters()).mul_(1 + 100 * TOLERANCE).add_(0.01)
    for factory in (torch_layers, eager_cell, CANDIDATES["aten"]):
        assert describe_mismatch(factory(workload), right) != ""


def test_the_products_of_an_lstm_are_those_that_it_needs() -> None:
    T, B, n, H, m = 5, 3, 88, 8, 88
    workload = made("zoo:lstm", steps=T, rows=B, hidden=H)
    forward = 2 * T * B * (n * 4 * H + H * 4 * H + H * m)
    # Backward, each product comes twice, but for the one that would give the input's gradient.
    backward = 2 * forward - 2 * T * B * n * 4 * H
    assert total_flops(required_gemms(workload, training=False)) == forward
    assert total_flops(required_gemms(workload, training=True)) == forward + backward
    in_loop = [p for ps in required_gemms(workload, training=True) for p in ps if p.count == T]
    assert {(p.m, p.k, p.n) for p in in_loop} == {(B, H, 4 * H), (B, 4 * H, H)}


def test_floors_run_and_answer_nothing() -> None:
    workload = zoo("dts_rnn")
    for name in FLOOR_NAMES:
        floor = CANDIDATES[name](workload)
        floor.forward()
        floor.step()
        assert floor.compute_result is None


def test_a_floor_without_a_plan_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise Unsupported("there is no such operation")

    monkeypatch.setattr(gemm_floor, "build_plan", refuse)
    with pytest.raises(Unavailable, match="it has no plan: there is no such operation"):
        CANDIDATES["products"](zoo("rnn"))


def test_the_micro_kernel_runs_the_flops_that_it_is_asked_for() -> None:
    kernel = MicroKernel()
    assert kernel.flops_per_tile % (2 * 256) == 0
    assert 0.5 < kernel.gigaflops(1, seconds=0.01) < 1e4
