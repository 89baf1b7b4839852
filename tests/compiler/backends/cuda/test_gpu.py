"""Generated kernels on a GPU equal the reference in float64 on the CPU; run by `make gpu`.

Requirements: torch, Triton, lark, networkx and pytest. RNNC_SHARD=1/4 runs every fourth test, so
that several processes compile kernels in parallel, which takes most of the time. Without a GPU,
TRITON_INTERPRET=1 interprets the kernels, to test these tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import torch

import rnnc
from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGIES, STRATEGY_VARIABLE
from rnnc.compiler.schedule.plan import Buffer
from rnnc.operators.sources.zoo import zoo_names
from support.comparison import random_arguments
from support.comparison.assertions import assert_close, weighted_sum
from support.generator import random_spec
from support.specs.small_zoo import small_sizes

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
EVERYTHING = {"ragged": True, "reset": True, "carry": True}
Item = TypeVar("Item")


def shard(items: Sequence[Item]) -> list[Item]:
    part, count = map(int, os.environ.get("RNNC_SHARD", "1/1").split("/"))
    return list(items[part - 1 :: count])


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(autouse=True)
def poison_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    allocate = AtenMemory._allocate

    def allocate_filled(memory: AtenMemory, buffer: Buffer) -> torch.Tensor:
        tensor = allocate(memory, buffer)
        inside = tensor[buffer.steps_before : len(tensor) - buffer.steps_after]
        (inside if buffer.extent == "series" else tensor).fill_(float("nan"))
        return tensor

    monkeypatch.setattr(AtenMemory, "_allocate", allocate_filled)


def run_model(
    model: rnnc.CompiledRNN, feed: random_arguments.CallArguments, device: str, dtype: torch.dtype
) -> dict[str, Any]:
    """Return outputs, states and parameter gradients as float64 on the CPU."""

    def move(value: Any) -> Any:
        if value is None or not value.is_floating_point():
            return value if value is None else value.to(device)
        return value.to(device, dtype)

    state = None if feed.state is None else type(feed.state)(*map(move, feed.state))
    moved_feed = random_arguments.CallArguments(
        {name: move(value) for name, value in feed.inputs.items()},
        state,
        move(feed.lengths),
        move(feed.resets),
    )
    y, last = moved_feed.call(model)
    outputs = y if isinstance(y, tuple) else (y,)
    values = [*outputs, *(() if last is None else last)]
    score = weighted_sum(tuple(value.double().cpu() for value in values))
    if score.requires_grad:
        score.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return {
        "values": [value.detach().double().cpu() for value in values],
        "gradients": {
            name: torch.zeros(()) if grad is None else grad.double().cpu()
            for name, grad in gradients.items()
        },
    }


def assert_gpu_agrees(
    text: str, sizes: dict[str, int], dtype: torch.dtype, steps: int, rows: int, **options: bool
) -> None:
    source = rnnc.compile(text, backend="reference", parameters=sizes)
    random_arguments.randomize_parameters(source, 1)
    rounded = {name: p.detach().to(dtype) for name, p in source.named_parameters()}
    feed = random_arguments.feed(source, steps, rows, seed=1, **options)
    feed = replace(feed, inputs={k: _rounded(v, dtype) for k, v in feed.inputs.items()})
    results = []
    for backend, device, kind in (("cuda", DEVICE, dtype), ("reference", "cpu", torch.float64)):
        model = rnnc.compile(text, backend=backend, parameters=sizes).to(device, kind).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(rounded[name])
        results.append(run_model(model, feed, device, kind))
    assert_close(*results, TOLERANCE[dtype])


def _rounded(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype).float() if value.is_floating_point() else value


@pytest.fixture(params=STRATEGIES)
def tier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force a strategy; a loop that it cannot run skips the test with the reason."""
    monkeypatch.setenv(STRATEGY_VARIABLE, request.param)
    return str(request.param)


def agree_or_skip(*arguments: Any, **options: bool) -> None:
    try:
        assert_gpu_agrees(*arguments, **options)
    except rnnc.RnnError as error:
        if f"{STRATEGY_VARIABLE}=" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("name", shard(zoo_names()))
def test_the_zoo_agrees(tier: str, name: str) -> None:
    sizes = small_sizes(name, hidden=33)
    agree_or_skip(f"zoo:{name}", sizes, torch.float32, 9, 5, **EVERYTHING)


@pytest.mark.parametrize("hidden", shard([64, 128, 256]))
@pytest.mark.parametrize("name", ["lstm", "dts_rnn"])
def test_whole_tiles_agree(tier: str, name: str, hidden: int) -> None:
    """Smaller where kernels are interpreted."""
    on_gpu = DEVICE == "cuda"
    sizes = small_sizes(name, hidden=hidden if on_gpu else hidden // 16)
    dtype = torch.bfloat16 if on_gpu else torch.float16
    agree_or_skip(f"zoo:{name}", sizes, dtype, 12, 37 if on_gpu else 3)


@pytest.mark.parametrize("dtype", shard([torch.float32, torch.float16, torch.bfloat16]))
@pytest.mark.parametrize("name", ["lstm", "gru", "dts_rnn", "mingru"])
def test_more_steps_than_a_recording_has(tier: str, name: str, dtype: torch.dtype) -> None:
    agree_or_skip(f"zoo:{name}", small_sizes(name, hidden=48), dtype, 70, 5)
    agree_or_skip(f"zoo:{name}", small_sizes(name, hidden=48), dtype, 131, 5, ragged=True)


@pytest.mark.parametrize("rows", [1, 40, 150])
@pytest.mark.parametrize("name", shard(["lstm", "dts_rnn"]))
def test_weights_on_many_multiprocessors_agree(
    monkeypatch: pytest.MonkeyPatch, name: str, rows: int
) -> None:
    monkeypatch.setenv(STRATEGY_VARIABLE, "grid")
    agree_or_skip(f"zoo:{name}", small_sizes(name, hidden=512), torch.float32, 40, rows)


@pytest.mark.parametrize("seed", shard(range(12)))
def test_random_specs_agree(tier: str, seed: int) -> None:
    spec = random_spec(seed)
    agree_or_skip(spec.text, spec.sizes, torch.float32, 7, 3, **EVERYTHING)


@pytest.mark.parametrize("name", shard(["lstm", "mingru"]))
def test_the_same_call_gives_the_same_bits(tier: str, name: str) -> None:
    sizes = {"hidden": 64}
    model = rnnc.compile(f"zoo:{name}", backend="cuda", parameters=sizes).to(DEVICE)
    x = torch.randn(100, 8, 88, device=DEVICE)
    bits = []
    for _ in range(3):
        model.zero_grad()
        y, _ = model(x)
        y.square().sum().backward()
        bits.append(
            [y.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
        )
    for other in bits[1:]:
        assert all(torch.equal(a, b) for a, b in zip(bits[0], other, strict=True))
