"""GEMM by generated code or by torch: both right, the choice measured once and remembered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import rnnc
from rnnc.compiler.backends import cache_dir
from rnnc.compiler.backends.cpu.execution import executor, gemm_autotune
from rnnc.compiler.backends.cpu.execution.gemm_autotune import ENVIRONMENT_VARIABLE, GemmAutotuner
from rnnc.compiler.backends.cpu.execution.library_gemm import run_library_gemm
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmDestination
from rnnc.compiler.backends.cpu.specialize import job_tables, shape_specialization
from rnnc.grammar.diagnostics.errors import RnnError
from support.comparison.agreement import assert_agree

WORDS = """
model words(H = 21, V = 70):
    input x: symbol[V]
    output y: real[V]
    state h: real[H]
    z: real[H] = tanh(W x + U h + b)
    h' = tanh(A z + B z)
    y = log(softmax(V_o h' + b_o))
"""
DEEP = """
model deep(H = 33, N = 18):
    input x: real[N]
    output y: real[H]
    state h, g: real[H]
    u: real[H] = tanh(P x + Q x + b_u)
    h' = tanh(W u + U h + b)
    g' = σ(F h' + b_g) ⊙ g + tanh(G h' + K u)
    y = g'
"""
SPECS = {"words": WORDS, "deep": DEEP, "lstm": "zoo:lstm", "awd": "zoo:awd_lstm", "sru": "zoo:sru"}
SIZES = {
    "lstm": {"hidden": 20},
    "awd": {"vocab": 50, "embed": 12, "hidden": 20, "layers": 2},
    "sru": {"hidden": 20},
}
CALL = {"steps": 5, "rows": 9, "seed": 1}
FLAGS = [{}, {"ragged": True, "reset": True}]


@pytest.fixture(autouse=True)
def tune_every_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every GEMM, however small, has an alternative; no choice outlives its test."""
    monkeypatch.setattr(job_tables, "MIN_WORK_TO_AUTOTUNE", 0)
    monkeypatch.setattr(gemm_autotune, "_choices_file", lambda: tmp_path / "products.json")
    monkeypatch.setattr(executor, "GEMM_AUTOTUNER", GemmAutotuner())
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    return iter([None])


@pytest.mark.parametrize("flags", FLAGS, ids=["dense", "packed"])
@pytest.mark.parametrize("choice", ["own", "torch", "measured"])
@pytest.mark.parametrize("name", SPECS)
def test_both_implementations_agree_with_the_reference(
    name: str, choice: str, flags: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, choice)
    assert_agree(SPECS[name], "cpu", sizes=SIZES.get(name), **CALL, **flags)


@pytest.mark.parametrize("name", ["words", "deep"])
@pytest.mark.parametrize("packs", [True, False])
def test_packing_does_not_matter_to_library_gemms(
    name: str, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "torch")
    monkeypatch.setattr(shape_specialization, "MIN_ROWS_TO_PACK", 0 if packs else 10**9)
    assert_agree(SPECS[name], "cpu", **CALL)


def test_torch_really_computes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[GemmDestination] = []

    def wrong(bindings: object, destination: GemmDestination) -> None:
        computed.append(destination)
        run_library_gemm(bindings, destination)  # type: ignore[arg-type]
        bindings.get(destination.value).buffer.mul_(1.001)  # type: ignore[attr-defined]

    monkeypatch.setattr(executor, "run_library_gemm", wrong)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "own")
    assert_agree(WORDS, "cpu", **CALL)
    assert not computed
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "torch")
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(WORDS, "cpu", **CALL)
    assert computed


def test_a_fault_in_library_weight_gradients_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "torch")
    monkeypatch.setattr(executor, "run_library_weight_grads", lambda bindings, group: None)
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(DEEP, "cpu", **CALL)


def autotuner_with(
    generated: float, library: float
) -> tuple[GemmAutotuner, Callable[[], None], Callable[[], None]]:
    """An autotuner, and two implementations that take so many seconds by its clock."""
    now = [0.0]

    def implementation(seconds: float) -> Callable[[], None]:
        def run() -> None:
            now[0] += seconds

        return run

    return (
        GemmAutotuner(clock=lambda: now[0]),
        implementation(generated),
        implementation(library),
    )


@pytest.mark.parametrize(
    ("generated", "library", "choice"),
    [(1.0, 2.0, "own"), (2.0, 1.0, "torch"), (1.0, 0.99, "own")],
)
def test_the_faster_implementation_is_chosen_and_remembered(
    generated: float, library: float, choice: str
) -> None:
    autotuner, *implementations = autotuner_with(generated, library)
    assert autotuner.lookup("size") is None
    assert autotuner.benchmark("size", *implementations) == choice
    assert autotuner.lookup("size") == choice
    assert GemmAutotuner().lookup("size") == choice, "another process finds it on disk"
    assert GemmAutotuner().lookup("another size") is None


def test_the_chosen_implementation_runs_last() -> None:
    ran: list[str] = []
    now = [0.0]

    def generated() -> None:
        ran.append("own")
        now[0] += 1

    def library() -> None:
        ran.append("torch")
        now[0] += 2

    GemmAutotuner(clock=lambda: now[0]).benchmark("size", generated, library)
    assert ran[-1] == "own"
    assert set(ran) == {"own", "torch"}


def test_a_choice_stays() -> None:
    autotuner, *implementations = autotuner_with(1, 2)
    other, *other_implementations = autotuner_with(2, 1)
    autotuner.benchmark("size", *implementations)
    assert other.lookup("another size") is None
    assert autotuner.benchmark("size", *other_implementations) == "own"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"choices": {"size": "torch"}, "mark": "0"}', '{"choices": 3}'],
)
def test_torn_and_foreign_files_count_as_empty(text: str) -> None:
    gemm_autotune._choices_file().write_text(text, encoding="utf-8")
    autotuner, *implementations = autotuner_with(2, 1)
    assert autotuner.lookup("size") is None
    autotuner.benchmark("size", *implementations)
    assert GemmAutotuner().lookup("size") == "torch"


def test_a_pipe_in_the_place_of_the_file_is_replaced() -> None:
    os.mkfifo(gemm_autotune._choices_file())
    autotuner, *implementations = autotuner_with(2, 1)
    assert autotuner.lookup("size") is None
    autotuner.benchmark("size", *implementations)
    assert GemmAutotuner().lookup("size") == "torch"


def test_the_file_is_json_and_choices_of_others_stay() -> None:
    first, *implementations = autotuner_with(1, 2)
    second, *others = autotuner_with(2, 1)
    assert first.lookup("a") is None
    assert second.lookup("b") is None
    first.benchmark("a", *implementations)
    second.benchmark("b", *others)
    document = json.loads(gemm_autotune._choices_file().read_text(encoding="utf-8"))
    assert document["choices"] == {"a": "own", "b": "torch"}


def test_an_unusable_cache_folder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unusable() -> Path:
        raise cache_dir.UnusableCache("no")

    monkeypatch.setattr(gemm_autotune, "_choices_file", unusable)
    autotuner, *implementations = autotuner_with(2, 1)
    assert autotuner.lookup("size") is None
    assert autotuner.benchmark("size", *implementations) == "torch"
    assert autotuner.lookup("size") == "torch"


def test_an_unknown_choice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "mkl")
    model = rnnc.compile(WORDS, backend="cpu")
    with pytest.raises(RnnError, match="RNNC_PRODUCTS=mkl"):
        model(torch.zeros(2, 3, dtype=torch.long))


def test_the_first_call_gives_the_bits_of_all_others() -> None:
    torch.manual_seed(0)
    model = rnnc.compile(WORDS, backend="cpu")
    x = torch.randint(0, 70, (5, 9))
    results = []
    for _ in range(3):
        model.zero_grad()
        y, _ = model(x)
        y.square().sum().backward()
        results.append([y.detach(), *(p.grad for p in model.parameters())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
