"""Products by generated code or by torch: both right, the choice measured once and remembered."""

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
def every_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """However small a product is it has two ways; nothing is known, and nothing is kept."""
    monkeypatch.setattr(job_tables, "MIN_WORK_TO_AUTOTUNE", 0)
    monkeypatch.setattr(gemm_autotune, "_choices_file", lambda: tmp_path / "products.json")
    monkeypatch.setattr(executor, "GEMM_AUTOTUNER", GemmAutotuner())
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    return iter([None])


@pytest.mark.parametrize("flags", FLAGS, ids=["dense", "packed"])
@pytest.mark.parametrize("way", ["own", "torch", "measured"])
@pytest.mark.parametrize("name", SPECS)
def test_both_ways_agree_with_the_reference(
    name: str, way: str, flags: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, way)
    assert_agree(SPECS[name], "cpu", sizes=SIZES.get(name), **CALL, **flags)


@pytest.mark.parametrize("name", ["words", "deep"])
@pytest.mark.parametrize("packs", [True, False])
def test_panels_do_not_matter_to_torchs_products(
    name: str, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "torch")
    monkeypatch.setattr(shape_specialization, "MIN_ROWS_TO_PACK", 0 if packs else 10**9)
    assert_agree(SPECS[name], "cpu", **CALL)


def test_torch_really_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[GemmDestination] = []

    def wrong(bindings: object, landing: GemmDestination) -> None:
        taken.append(landing)
        run_library_gemm(bindings, landing)  # type: ignore[arg-type]
        bindings.get(landing.value).buffer.mul_(1.001)  # type: ignore[attr-defined]

    monkeypatch.setattr(executor, "run_library_gemm", wrong)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "own")
    assert_agree(WORDS, "cpu", **CALL)
    assert not taken
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "torch")
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(WORDS, "cpu", **CALL)
    assert taken


def test_a_fault_in_torchs_sums_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "torch")
    monkeypatch.setattr(executor, "run_library_weight_grads", lambda bindings, group: None)
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(DEEP, "cpu", **CALL)


def clock(
    own: float, theirs: float
) -> tuple[GemmAutotuner, Callable[[], None], Callable[[], None]]:
    """Choices that see each way take so many seconds."""
    now = [0.0]

    def ways(seconds: float) -> Callable[[], None]:
        def run() -> None:
            now[0] += seconds

        return run

    return GemmAutotuner(clock=lambda: now[0]), ways(own), ways(theirs)


@pytest.mark.parametrize(
    ("own", "theirs", "way"), [(1.0, 2.0, "own"), (2.0, 1.0, "torch"), (1.0, 0.99, "own")]
)
def test_the_faster_way_is_chosen_and_remembered(own: float, theirs: float, way: str) -> None:
    known, run_own, run_theirs = clock(own, theirs)
    assert known.lookup("size") is None
    assert known.benchmark("size", run_own, run_theirs) == way
    assert known.lookup("size") == way
    assert GemmAutotuner().lookup("size") == way, "another process finds it on disk"
    assert GemmAutotuner().lookup("another size") is None


def test_the_way_that_is_chosen_runs_last() -> None:
    ran: list[str] = []
    now = [0.0]

    def own() -> None:
        ran.append("own")
        now[0] += 1

    def theirs() -> None:
        ran.append("torch")
        now[0] += 2

    GemmAutotuner(clock=lambda: now[0]).benchmark("size", own, theirs)
    assert ran[-1] == "own"
    assert set(ran) == {"own", "torch"}


def test_what_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    known, run_own, run_theirs = clock(1, 2)
    other, other_own, other_theirs = clock(2, 1)
    known.benchmark("size", run_own, run_theirs)
    assert other.lookup("another size") is None
    assert known.benchmark("size", other_own, other_theirs) == "own"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"choices": {"size": "torch"}, "mark": "0"}', '{"choices": 3}'],
)
def test_torn_and_foreign_files_count_as_nothing(text: str) -> None:
    gemm_autotune._choices_file().write_text(text, encoding="utf-8")
    known, run_own, run_theirs = clock(2, 1)
    assert known.lookup("size") is None
    known.benchmark("size", run_own, run_theirs)
    assert GemmAutotuner().lookup("size") == "torch"


def test_a_pipe_in_the_place_of_the_file_is_replaced() -> None:
    os.mkfifo(gemm_autotune._choices_file())
    known, run_own, run_theirs = clock(2, 1)
    assert known.lookup("size") is None
    known.benchmark("size", run_own, run_theirs)
    assert GemmAutotuner().lookup("size") == "torch"


def test_what_is_written_is_plain_text_and_others_choices_stay() -> None:
    first, *ways = clock(1, 2)
    second, *others = clock(2, 1)
    assert first.lookup("a") is None
    assert second.lookup("b") is None
    first.benchmark("a", *ways)
    second.benchmark("b", *others)
    document = json.loads(gemm_autotune._choices_file().read_text(encoding="utf-8"))
    assert document["choices"] == {"a": "own", "b": "torch"}


def test_a_cache_that_cannot_be_written_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unusable() -> Path:
        raise cache_dir.UnusableCache("no")

    monkeypatch.setattr(gemm_autotune, "_choices_file", unusable)
    known, *ways = clock(2, 1)
    assert known.lookup("size") is None
    assert known.benchmark("size", *ways) == "torch"
    assert known.lookup("size") == "torch"


def test_an_unknown_way_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "mkl")
    model = rnnc.compile(WORDS, backend="cpu")
    with pytest.raises(RnnError, match="RNNC_PRODUCTS=mkl"):
        model(torch.zeros(2, 3, dtype=torch.long))


def test_the_first_call_gives_the_bits_of_all_others() -> None:
    torch.manual_seed(0)
    model = rnnc.compile(WORDS, backend="cpu")
    x = torch.randint(0, 70, (5, 9))
    found = []
    for _ in range(3):
        model.zero_grad()
        y, _ = model(x)
        y.square().sum().backward()
        found.append([y.detach(), *(p.grad for p in model.parameters())])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
