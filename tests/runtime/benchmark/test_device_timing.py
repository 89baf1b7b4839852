"""GPU timing, tested without a GPU: synchronization and memory counters."""

from __future__ import annotations

import pytest
import torch

import rnnc
from rnnc.runtime.benchmark.baselines.cell import extract_cell
from rnnc.runtime.benchmark.baselines.compiled_cell import _cuda_graph_step
from rnnc.runtime.benchmark.measurement.device_timing import (
    gpu_memory_growth,
    require_device,
    synchronize_after,
)
from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.workload import make_workload, resize_workload


def test_work_on_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("waited"))
    assert synchronize_after(lambda: order.append("ran"), "cuda")() is None
    assert order == ["ran", "waited"]
    synchronize_after(lambda: order.append("ran"), "cpu")()
    assert order == ["ran", "waited", "ran"]


def test_memory_is_what_the_allocator_holds_over_before(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"now": 100, "peak": 0}

    def step() -> None:
        held["peak"] = max(held["peak"], held["now"] + 40)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: held.update(peak=0))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: held["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: held["peak"])
    assert gpu_memory_growth(step) == 40


def test_a_driver_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA driver initialization failed\nmore")

    require_device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", broken)
    with pytest.raises(Unavailable, match=r"^the GPU does not answer: .* failed$"):
        require_device("cuda")


def test_a_case_keeps_its_device_and_type_when_resized() -> None:
    program = rnnc.compile("zoo:lstm", hidden=4, backend="reference").program
    workload = make_workload(program, 3, 2, device="meta", dtype=torch.bfloat16)
    for sized in (workload, resize_workload(workload, 4, 3)):
        tensors = [*sized.inputs.values(), *sized.output_gradients, *sized.model.parameters()]
        assert {t.device.type for t in tensors} == {"meta"}
        assert {t.dtype for t in tensors} == {torch.bfloat16}


def test_a_compiled_cell_that_fails_takes_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> object:
        raise RuntimeError("accessing tensor output of CUDAGraphs\nmore")

    monkeypatch.setattr(torch, "compile", lambda step, **options: failing)
    graph = rnnc.compile("zoo:rnn", hidden=4, backend="reference").graph
    with pytest.raises(Unavailable, match=r"torch.compile fails: RuntimeError: accessing .*$"):
        _cuda_graph_step(extract_cell(graph))()
