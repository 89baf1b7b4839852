"""Faults planted in generated code are caught; what one row holds stays in that row."""

from __future__ import annotations

import copy
import multiprocessing.reduction
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu.specialize import shape_specialization, thread_partition
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.backends.cpu.specialize.packed_sequence import PackedSequence
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.agreement import assert_agree
from support.comparison.assertions import assert_close, parameter_gradients
from support.faults.poisoned_memory import poison_memory

MODEL = """
model m(H = 21):
    input x: real[5]
    state h: real[H]
    state c: real[H]
    i = σ(Wi x + Ui h + bi)
    g = tanh(Wg x + Ug (i ⊙ h) + bg)
    c' = i ⊙ c + g
    h' = i ⊙ tanh(c')
    output y: real[3]
    y = V h' + bv
"""
CALL = {"steps": 6, "rows": 9, "seed": 1, "ragged": True, "reset": True}


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    with poison_memory():
        yield


def test_nothing_is_planted_here() -> None:
    assert_agree(MODEL, "cpu", **CALL)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("n - first < LANES ? n - first : LANES", "n - first < LANES ? n - first - 1 : LANES"),
        ("k < K; k++) {\n        vec b", "k < K - 1; k++) {\n        vec b"),
        ("n = i + r;\n            rows[r]", "n = i;\n            rows[r]"),
        ("x0[n]", "n"),
        ("accumulate ? LOAD(sums + i * stride", "0 ? LOAD(sums + i * stride"),
        ("wide < nv * LANES ? wide", "wide < nv * LANES ? wide - 1"),
        ("b[group[g].v].width, k > 0", "b[group[g].v].width, 1"),
        ("C[i * nb + group[g].v]", "C[group[g].v]"),
        ("LOAD(w + l * K + k) *", "LOAD(w + l * K) *"),
        ("load_tail(rows[i] + K, valid)", "splat(0)"),
        ("v_tanh(vec x) {", "v_tanh(vec x) { x = x * C_(1.0001);"),
        (
            "const int32_t *batch_index;",
            "const int32_t *batch_index_;\n#define batch_index batch_index_ + 0 * 1\n",
        ),
    ],
    ids=[
        "tail",
        "depth",
        "row",
        "stale",
        "sum",
        "weight gradient tail",
        "first block",
        "other sum",
        "entry",
        "end",
        "tanh",
        "nothing",
    ],
)
def test_a_planted_fault_is_caught(
    right: str, wrong: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    source = CompiledProgram.source

    def plant(self: CompiledProgram) -> str:
        text = source(self)
        assert right in text
        return text.replace(right, wrong)

    monkeypatch.setattr(CompiledProgram, "source", plant)
    in_place = request.node.callspec.id in {"entry", "end"}
    monkeypatch.setattr(shape_specialization, "MIN_ROWS_TO_PACK", 10**9 if in_place else 0)
    if request.node.callspec.id == "nothing":
        assert_agree(MODEL, "cpu", **CALL)
        return
    with pytest.raises(AssertionError, match="off by"):
        assert_agree(MODEL, "cpu", **CALL)


@pytest.mark.parametrize("barriers", [True, False])
def test_a_missing_barrier_is_caught(barriers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CompiledProgram.source

    def slow(self: CompiledProgram) -> str:
        # One thread is late at every step, so that the other one must wait for it.
        text = source(self).replace(
            "const long running =",
            "if (thread == 1) usleep(3000);\n        const long running =",
        )
        if not barriers:
            text = text.replace("if (column_threads > 1) { BARRIER }", "")
        return "#include <unistd.h>\n" + text

    monkeypatch.setattr(CompiledProgram, "source", slow)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(thread_partition, "MIN_WORK_TO_THREAD", 0)
    monkeypatch.setattr(thread_partition, "MIN_WEIGHTS_TO_SPLIT_COLUMNS", 0)
    call = {"steps": 4, "rows": 1, "seed": 1, "sizes": {"H": 150}}
    if barriers:
        assert_agree(MODEL, "cpu", **call)
    else:
        with pytest.raises(AssertionError):
            assert_agree(MODEL, "cpu", **call)


def model() -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(MODEL, backend="cpu")


def test_nan_stays_in_its_row() -> None:
    net = model()
    x = torch.randn(5, 9, 5)
    clean = x.clone().requires_grad_()
    dirty = x.clone()
    dirty[2, 4] = float("nan")
    dirty[3, 7] = float("inf")
    dirty.requires_grad_()
    ys = [net(v)[0] for v in (clean, dirty)]
    for y in ys:
        y.sum().backward()
    others = [row for row in range(9) if row not in (4, 7)]
    assert torch.equal(ys[0][:, others], ys[1][:, others])
    assert ys[1][2:, 4].isnan().all()
    assert clean.grad is not None
    assert dirty.grad is not None
    assert torch.equal(clean.grad[:, others], dirty.grad[:, others])


def test_denormals_outside_survive() -> None:
    script = (
        "import torch, rnnc\n"
        f"net = rnnc.compile({MODEL!r}, backend='cpu')\n"
        "net(torch.randn(3, 4, 5))[0].sum().backward()\n"
        "tiny = torch.full((64,), 1e-39)\n"
        "assert (tiny * 1.0 > 0).all() and (tiny / 2 > 0).all() and 5e-324 * 1.0 != 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_denormals_inside_survive() -> None:
    text = "model m:\n    input x: real[3]\n    output y: real[3]\n    y = x / 2\n"
    net = rnnc.compile(text, backend="cpu")
    y, _ = net(torch.full((1, 1, 3), 2e-39))
    assert (y > 0).all()


def test_copies_and_threads_share_nothing_that_changes() -> None:
    net = model()
    twin = copy.deepcopy(net)
    again = multiprocessing.reduction.ForkingPickler.loads(
        multiprocessing.reduction.ForkingPickler.dumps(net)
    )
    start = threading.Barrier(3)

    def train(which: CompiledRNN, steps: int) -> dict[str, torch.Tensor]:
        x = torch.randn(steps, 3, 5, generator=torch.Generator().manual_seed(steps))
        which.zero_grad()
        start.wait()
        which(x)[0].sum().backward()
        return parameter_gradients(which)

    with ThreadPoolExecutor(3) as pool:
        for steps in range(3, 40):  # each time rows that no thread has met before
            one, two, three = pool.map(train, [net, twin, again], [steps] * 3)
            assert_close(two, one, 0.0)
            assert_close(three, one, 0.0)


def test_threads_that_compute_a_row_index_at_once_get_the_same() -> None:
    # A running thread uses its address: the index must not be freed when another one replaces it.
    both = threading.Barrier(2)

    class Slow(PackedSequence):
        def _compute_row_index(self, delay: int, boundary: str, has_carry: bool) -> torch.Tensor:
            both.wait(10)
            return super()._compute_row_index(delay, boundary, has_carry)

    sequence = Slow(3, 2)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(sequence.row_index, [(1, "bounded", True)] * 2)
    assert one is two


def test_second_derivatives_are_those_of_the_reference() -> None:
    gradients = []
    for backend in ("cpu", "reference"):
        torch.manual_seed(0)
        net = rnnc.compile(MODEL, backend=backend).double()
        x = torch.randn(3, 2, 5, dtype=torch.float64).requires_grad_()
        (g,) = torch.autograd.grad(net(x)[0].sum(), x, create_graph=True)
        g.square().sum().backward()
        gradients.append(parameter_gradients(net))
    assert_close(*gradients, 1e-9)


def test_an_argument_changed_in_between_is_noticed() -> None:
    net = model()
    y, _ = net(torch.randn(3, 2, 5))
    with torch.no_grad():
        next(iter(net.parameters())).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_results_are_no_views_of_residuals() -> None:
    net = model()
    x = torch.randn(3, 2, 5)
    y, state = net(x)
    y.sum().backward()
    expected = parameter_gradients(net)
    net.zero_grad()
    y, state = net(x)
    with torch.no_grad():
        for tensor in (y, *state):
            tensor.detach().zero_()
    y.sum().backward()
    assert_close(parameter_gradients(net), expected, 0.0)


def test_autocast_changes_nothing() -> None:
    net, x = model(), torch.randn(4, 3, 5)
    found = []
    for enabled in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y, _ = net(x)
        y.sum().backward()
        found.append((y, parameter_gradients(net)))
    assert_close(found[1], found[0], 0.0)
