"""Wide layers on the backend `cpu`: deep panels in slices, groups, symbols, results."""

from __future__ import annotations

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu.specialize import shape_specialization, thread_partition
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from support.comparison.agreement import assert_agree
from support.comparison.assertions import assert_close

WORDS = """
model words(H = 21, V = 416):
    input x: symbol[V]
    output y: real[V]
    state h: real[H]
    h' = tanh(W x + U h + b)
    y = log(softmax(V_o h' + b_o))
"""
DENSE = """
model dense(H = 32, N = 288):
    input x: real[N]
    output y: real[H]
    output z: real[H]
    output v: real[N]
    y_ = W x + b
    y = y_
    z = y_
    v = σ(x) ⊙ (U σ(y_))
"""
CALL = {"steps": 7, "rows": 29, "seed": 3}
FLAGS = [{}, {"ragged": True}, {"reset": True}]


@pytest.mark.parametrize("flags", FLAGS, ids=["dense", "ragged", "reset"])
@pytest.mark.parametrize("spec", [WORDS, DENSE], ids=["words", "dense"])
def test_wide_layers_agree_with_the_reference(spec: str, flags: dict[str, bool]) -> None:
    assert_agree(spec, "cpu", **CALL, **flags)


def test_float32_agrees_with_float64() -> None:
    torch.manual_seed(0)
    model = rnnc.compile(WORDS, backend="cpu")
    x = torch.randint(0, 416, (7, 29))
    single = model(x)[0].detach()
    assert_close(single.double(), model.double()(x)[0].detach(), 1e-4)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("* 416 + k;", "* 416;"),
        ("panel += depth * ", "panel += 0 * "),
        (", k > 0);", ", 0);"),
        ("vec sums = (s[0] + s[1]) + (s[2] + s[3])", "vec sums = (s[0] + s[1]) + s[2]"),
        ("to[u * count + symbol] += row[u]", "to[u * count + symbol] = row[u]"),
        ("for (long n0 = i0; n0 < i1;", "for (long n0 = i0; n0 + 1 < i1;"),
    ],
    ids=["slice", "panel", "sum", "group", "symbol", "last row"],
)
def test_a_planted_fault_is_caught(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CompiledProgram.source

    def plant(self: CompiledProgram) -> str:
        text = source(self)
        assert right in text
        return text.replace(right, wrong)

    # Few rows at a time pass through the kernels, which only wide models need.
    monkeypatch.setattr("rnnc.compiler.backends.cpu.codegen.emitter._CACHE_BLOCK_NUMBERS", 1 << 13)
    monkeypatch.setattr(shape_specialization, "MIN_ROWS_TO_PACK", 0)
    assert_agree(WORDS, "cpu", **CALL)
    monkeypatch.setattr(CompiledProgram, "source", plant)
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(WORDS, "cpu", **CALL)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = rnnc.compile(WORDS, backend="cpu")
    x = torch.randint(0, 416, (7, 29))
    monkeypatch.setattr(thread_partition, "MIN_WORK_TO_THREAD", 0)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        model.zero_grad()
        y, _ = model(x)
        y.square().sum().backward()
        results.append([y.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_results_are_the_callers_own() -> None:
    """No later call writes to a result, and no other result shares its memory."""
    model = rnnc.compile(DENSE, backend="cpu")
    x = torch.randn(4, 3, 288)
    with torch.no_grad():
        first, _ = model(x)
        copies = [t.clone() for t in first]
        model(torch.randn(4, 3, 288))
        assert all(torch.equal(a, b) for a, b in zip(first, copies, strict=True))
        first.y.zero_()
        assert torch.equal(first.z, copies[1])


@pytest.mark.parametrize("backend", ["cpu", "aten"])
def test_the_log_of_a_softmax_keeps_a_nan(backend: str) -> None:
    spec = "model m:\n    input x: real[70]\n    output y: real[70]\n    y = log(softmax(x))\n"
    x = torch.randn(3, 4, 70)
    x[1, 2, 69] = float("nan")
    y, _ = rnnc.compile(spec, backend=backend)(x)
    expected, _ = rnnc.compile(spec, backend="reference")(x)
    assert y[1, 2].isnan().all()
    assert torch.equal(y.isnan(), expected.isnan())
    assert y.isnan().sum() == 70
