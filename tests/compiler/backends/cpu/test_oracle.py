"""Generated C equals the reference: values, states, laws and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from rnnc.compiler.backends.cpu import backend as backend_module
from rnnc.compiler.backends.cpu.specialize import shape_specialization, thread_partition
from rnnc.compiler.backends.cpu.toolchain.c_compiler import ISA_FLAGS, host_isa
from rnnc.operators.sources.zoo import zoo_names
from support.comparison.agreement import assert_agree
from support.comparison.shared_library import compile_in_one_library
from support.generator import random_spec

CALLS: dict[str, dict[str, Any]] = {
    "plain": {"steps": 5, "rows": 3},
    "one row, one step": {"steps": 1, "rows": 1},
    "everything": {"steps": 7, "rows": 8, "ragged": True, "reset": True, "carry": True},
    "ragged": {"steps": 4, "rows": 3, "ragged": True},
    "no steps": {"steps": 0, "rows": 2, "carry": True},
    "no rows": {"steps": 3, "rows": 0},
    "many rows": {"steps": 2, "rows": 131, "carry": True},
}
ISAS = ["plain", "avx2", "avx512"]
WIDEST = ISAS.index(host_isa())


def assert_call_agrees(text: str, sizes: dict[str, int], seed: int, call: str) -> None:
    assert_agree(text, "cpu", sizes=sizes, seed=seed, **CALLS[call])


def run_together(cases: list[Callable[[], None]], patch: pytest.MonkeyPatch) -> None:
    for case in compile_in_one_library(cases, patch):
        case()


@pytest.mark.parametrize("part", range(3))
def test_the_zoo_agrees_with_the_reference(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        partial(assert_call_agrees, f"zoo:{name}", {}, 1, "everything")
        for name in zoo_names()[part::3]
    ]
    run_together(cases, monkeypatch)


@pytest.mark.parametrize("part", range(4))
def test_random_specs_agree_with_the_reference(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(CALLS)
    cases: list[Callable[[], None]] = []
    for seed in range(part, 60, 4):
        spec = random_spec(seed)
        other = names[seed % len(names)]
        chosen = "everything" if seed % 3 else other
        cases.append(partial(assert_call_agrees, spec.text, spec.sizes, seed, chosen))
    run_together(cases, monkeypatch)


TAILS = """
model m(H = 37, K = 3):
    input x: real[5]
    input s: symbol[11]
    state h: real[H]
    state c: real[H] = learned
    state b: real[7]
    z = U x + E s
    i = σ(Wi h + z)
    f = σ(Wf h + z + bf)
    o = tanh(Wo h + Vo c)
    g = gelu(Wg (h ⊙ i)) + softplus(Wk h) + elu(z) + silu(z)
    c' = f ⊙ c + i ⊙ g
    q: real[K] = softmax(Q h)
    h' = o ⊙ tanh(c') + softsign(R q)
    b[t] = tanh(Wb b[t+1] + Ub h')
    output y: real[9]
    y = V h' + Vb b[t] + Vx x[t-2]
"""


@pytest.mark.parametrize("isa", ISAS[: WIDEST + 1])
@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "in place"])
def test_every_instruction_set_agrees_in_both_dtypes(
    isa: str, double: bool, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape_specialization, "MIN_ROWS_TO_PACK", 0 if packed else 10**9)
    monkeypatch.setattr(backend_module, "host_isa", lambda: isa)
    if not double:
        monkeypatch.setattr("torch.nn.Module.double", lambda self: self.float())
    for call in ("everything", "many rows"):
        arguments = CALLS[call] | {"carry": False}
        tolerance = 1e-9 if double else 1e-4
        assert_agree(TAILS, "cpu", seed=3, tolerance=tolerance, **arguments)
    assert set(ISA_FLAGS) == set(ISAS)


@pytest.mark.parametrize("splits_columns", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_any_number_of_threads_gives_the_same_bits(
    threads: int, rows: int, splits_columns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from support.comparison.agreement import compute_results
    from support.comparison.assertions import assert_close

    single = compute_results(TAILS, "cpu", seed=2, steps=6, rows=rows, ragged=True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for name in ("MIN_WORK_TO_THREAD", "MIN_ADDS_TO_THREAD"):
        monkeypatch.setattr(thread_partition, name, 0)
    monkeypatch.setattr(thread_partition, "MIN_ROWS_PER_TEAM", 4)
    monkeypatch.setattr(
        thread_partition, "MIN_WEIGHTS_TO_SPLIT_COLUMNS", 0 if splits_columns else 10**9
    )
    many = compute_results(TAILS, "cpu", seed=2, steps=6, rows=rows, ragged=True)
    again = compute_results(TAILS, "cpu", seed=2, steps=6, rows=rows, ragged=True)
    assert_close(many, again, 0.0)
    assert_close(many, single, 0.0)


AS_IT_IS = """
input x: real[3]
input s: real[2]
state h: real[3]
output y: real[3]
output z: real[3] at end
output e: real[2]
h' = tanh(W h + {})
y = {}
z = {}
e = s[t-1]
"""


@pytest.mark.parametrize("added", ["b", "U x", "U x[t-1]"])
def test_results_are_variables_at_other_times_as_they_are(
    added: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [CALLS[name] for name in ("plain", "one row, one step", "everything", "many rows")]
    cases: list[Callable[[], None]] = [
        partial(assert_agree, AS_IT_IS.format(added, read, other), "cpu", seed=1, **call)
        for read, other in (("x[t-1]", "h[t-2]"), ("h", "x"), ("x", "x[t-2]"), ("h[t-3]", "h"))
        for call in calls
    ]
    run_together(cases, monkeypatch)


PARTS = """
model m(H = 21):
    input x: real[5]
    state h: real[H]
    state c: real[16]
    h' = tanh(W h + U x + V c)
    c' = tanh(C c + D h' + b)
    output y: real[3]
    y = Y h' + b_y
    output z: real[16]
    z = σ(c') ⊙ (Z h')
"""


def test_gradients_of_some_results_alone() -> None:
    import torch

    import rnnc
    from support.comparison.assertions import assert_close, parameter_gradients
    from support.comparison.random_arguments import randomize_parameters

    nets = [rnnc.compile(PARTS, backend=name).double() for name in ("cpu", "reference")]
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    for chosen in ((0,), (1,), (2,), (3,), (0, 3), (1, 2)):
        gradients = []
        for net in nets:
            randomize_parameters(net, 1).zero_grad()
            y, state = net(x)
            results = (*y, *state)
            sum(results[index].square().sum() for index in chosen).backward()
            gradients.append(parameter_gradients(net))
        assert_close(*gradients, 1e-9, str(chosen))
