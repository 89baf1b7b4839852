"""Generated kernels in Triton's interpreter equal the reference: values and all gradients.

float64, which only these tests use, keeps rounding from hiding a wrong formula. Sizes are small
because the interpreter is slow; tiles are smaller still, so that there are several of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cuda.autotune.tile_sizes import Tiling
from rnnc.compiler.backends.cuda.codegen import expressions
from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
from rnnc.compiler.backends.cuda.execution import cuda_graphs, engine, kernel_launch
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGY_VARIABLE
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_names
from support.comparison import random_arguments
from support.comparison.agreement import assert_agree
from support.comparison.assertions import assert_close
from support.faults.poisoned_memory import poison_memory
from support.generator import random_spec
from support.specs.backward_state_history import BACKWARD_STATE_HISTORY
from support.specs.multiple_delays import MULTIPLE_DELAYS
from support.specs.parameter_values import PARAMETER_VALUES
from support.specs.small_zoo import small_sizes
from support.specs.windows_in_cycles import has_window_in_a_cycle

pytestmark = [
    pytest.mark.triton,
    # Entries outside of a tile are computed too, and may overflow, but are never stored.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

CALLS: dict[str, dict[str, Any]] = {
    "plain": {"steps": 5, "rows": 3},
    "one row, one step": {"steps": 1, "rows": 1},
    "everything": {"steps": 7, "rows": 3, "ragged": True, "reset": True, "carry": True},
    "ragged": {"steps": 4, "rows": 3, "ragged": True},
    "evaluation": {"steps": 3, "rows": 2, "carry": True, "training": False},
    "no steps": {"steps": 0, "rows": 2, "carry": True},
    "no rows": {"steps": 3, "rows": 0},
}


@pytest.fixture(autouse=True)
def use_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make several tiles of rows, columns, matmul depth and scan steps; force `graph` for loops."""
    monkeypatch.setenv(STRATEGY_VARIABLE, "graph")

    def small_tiling(kernel: TritonKernel, bytes_: int) -> Tiling:
        if kernel.matmuls:
            return Tiling(2, 4, 4, 1)
        if kernel.kind == "rows":
            return Tiling(16, 1 if kernel.width == 1 else 4, 1, 1)
        return Tiling(4, 1 if kernel.width == 1 else 4, 1, 1)

    monkeypatch.setattr(kernel_launch, "default_tiling", small_tiling)


@pytest.fixture(autouse=True)
def poison_all_memory() -> Iterator[None]:
    with poison_memory():
        yield


def test_kernels_are_interpreted() -> None:
    assert os.environ.get("TRITON_INTERPRET") == "1"
    assert rnnc.compile("zoo:rnn", backend="cuda").backend == "cuda"


@pytest.mark.parametrize("name", zoo_names())
def test_the_zoo_agrees_with_the_reference(name: str) -> None:
    assert_agree(f"zoo:{name}", "cuda", sizes=small_sizes(name), seed=1, **CALLS["everything"])


@pytest.mark.parametrize("seed", range(24))
def test_random_specs_agree_with_the_reference(seed: int) -> None:
    spec = random_spec(seed)
    graph = analyze(Source(spec.text), parameters=spec.sizes).graph
    assert graph is not None
    if has_window_in_a_cycle(graph):
        pytest.skip(
            "no kernel looks through a window in a loop: the backend says so, and aten runs"
        )
    names = list(CALLS)
    for name in dict.fromkeys(("everything", names[seed % len(names)])):
        assert_agree(spec.text, "cuda", sizes=spec.sizes, seed=seed, **CALLS[name])


# No kernel looks through a window in a loop: the backend says so, and aten runs.
@pytest.mark.parametrize("name", [n for n in PARAMETER_VALUES if not n.endswith("in a loop")])
def test_parameters_as_values_count_once(name: str) -> None:
    for call in ("one row, one step", "plain", "everything"):
        assert_agree(PARAMETER_VALUES[name], "cuda", seed=1, **CALLS[call])


@pytest.mark.parametrize("name", MULTIPLE_DELAYS)
def test_one_product_at_several_delays_agrees(name: str) -> None:
    for call in ("one row, one step", "plain", "everything"):
        assert_agree(MULTIPLE_DELAYS[name], "cuda", seed=1, **CALLS[call])


@pytest.mark.parametrize("name", BACKWARD_STATE_HISTORY)
def test_the_past_of_what_runs_backward_agrees(name: str) -> None:
    for count in (1, 2, 5):
        assert_agree(BACKWARD_STATE_HISTORY[name], "cuda", seed=1, steps=count, rows=3)
    call = {"ragged": True, "reset": True}
    assert_agree(BACKWARD_STATE_HISTORY[name], "cuda", seed=2, steps=5, rows=3, **call)


@pytest.mark.parametrize("name", ["lstm", "dts_rnn", "mingru"])
def test_what_is_computed_again_agrees(name: str) -> None:
    call = {"memory": "recompute", **CALLS["everything"]}
    assert_agree(f"zoo:{name}", "cuda", sizes=small_sizes(name), seed=2, **call)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn", "sru"])
def test_narrow_types_are_as_near_as_their_rounding(name: str, dtype: torch.dtype) -> None:
    ours = rnnc.compile(f"zoo:{name}", backend="cuda", parameters=small_sizes(name)).to(dtype)
    random_arguments.randomize_parameters(ours, 3)
    theirs = rnnc.compile(f"zoo:{name}", backend="reference", parameters=small_sizes(name)).double()
    theirs.load_state_dict({k: v.double() for k, v in ours.state_dict().items()})
    feed = random_arguments.feed(ours, 6, 3, seed=3, ragged=True)
    y, state = feed.call(ours)
    exact = {k: v.double() for k, v in feed.inputs.items()}
    expected, last = replace(feed, inputs=exact).call(theirs)
    tolerance = {torch.float32: 2e-6, torch.float16: 4e-3}[dtype]
    assert y.dtype == dtype
    assert_close(y.double(), expected, tolerance)
    assert_close([s.double() for s in state], list(last), tolerance)
    y.sum().backward()
    expected.sum().backward()
    for ours_, theirs_ in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(ours_.grad.double(), theirs_.grad, 4 * tolerance)


def test_autocast_computes_in_its_type_and_answers_in_the_models() -> None:
    model = rnnc.compile("zoo:lstm", backend="cuda", parameters=small_sizes("lstm"))
    feed = random_arguments.feed(model, 4, 2, seed=4)
    plain, _ = feed.call(model)
    with torch.autocast("cpu", dtype=torch.float16):
        y, state = feed.call(model)
    assert y.dtype == state[0].dtype == torch.float32
    assert not torch.equal(y, plain)
    assert_close(y, plain, 4e-3)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_the_same_call_gives_the_same_bits() -> None:
    model = rnnc.compile("zoo:gru", backend="cuda", parameters=small_sizes("gru"))
    feed = random_arguments.feed(model, 5, 3, seed=5)
    first, second = (feed.call(model)[0] for _ in range(2))
    assert torch.equal(first, second)


def capture_nothing(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    return work


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_played_stretches_agree(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps beyond the end of a captured graph must do nothing."""
    monkeypatch.setattr(cuda_graphs, "CAPTURED_STEPS", 3)
    replayed_steps: list[int] = []

    def replay(launches: Any, count: int, rows: int, recordings: Any) -> None:
        replayed_steps.append(count)
        cuda_graphs.replay_steps(launches, count, rows, recordings, capture_nothing)

    monkeypatch.setattr(engine, "run_steps", replay)
    call = {"steps": count, "rows": 3, "ragged": True, "reset": True, "carry": True}
    assert_agree("zoo:lstm", "cuda", sizes=small_sizes("lstm"), seed=6, **call)
    assert replayed_steps == [count, count]


def test_a_recording_is_played_again_on_the_same_memory() -> None:
    captures: list[int] = []

    class CountingKernel:
        def __init__(self) -> None:
            self.tensors = (torch.zeros(100, dtype=torch.int64),)
            self.capture_key = ("count", self.tensors[0].data_ptr())

        def __call__(self, clock: torch.Tensor, ahead: int, rows: int) -> None:
            t = int(clock[0]) + ahead
            if t < int(clock[1]):
                self.tensors[0][t] += 1

    def capture(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        captures.append(1)
        return work

    kernel, graphs = CountingKernel(), cuda_graphs.CudaGraphCache()
    for count in (100, 40):
        cuda_graphs.replay_steps([kernel], count, 1, graphs, capture)
    assert kernel.tensors[0].tolist() == [2] * 40 + [1] * 60
    assert captures == [1]


def test_a_wrong_formula_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(expressions.EXPRESSIONS, "one_minus", "1.0 + {0}")
    with pytest.raises(AssertionError, match="off by"):
        assert_agree("zoo:gru", "cuda", sizes=small_sizes("gru"), seed=1, **CALLS["plain"])


KINDS = {
    "a maximum, held past a row's end": "h' = maxout(2, [W h + b ; x])\ny = h'\n",
    "the same, backward": "state g: real[4]\ng[t] = maxout(2, [W g[t+1] + b ; x])\nh' = x\n"
    "y = g'\n",
    "a pole past a row's end": "h' = σ(b) * h + 1 / x\ny = R (1 / x) + h'\n",
    "a value as it was": "h' = tanh(W h + x)\ny = h[t-2] + x[t-3]\n",
    "a query as it was": "X = x[t-2..t]\nh' = tanh(W h + x)\ny = Xᵀ softmax(X stopgrad(h))\n",
    "parameters alone": "h' = tanh(variational(0.4, b) + W h)\n(u, v) = split([b ; h'], 3, 5)\n"
    "y = Q u + R v\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_specs_that_plans_have_to_get_right(kind: str) -> None:
    head = "input x: real[4]\nstate h: real[4] = learned\noutput y: real[4]\nparam b: vector\n"
    for call in ("everything", "ragged", "one row, one step"):
        assert_agree(head + KINDS[kind], "cuda", seed=3, **CALLS[call])
