"""If `cuda` cannot run, it gives the reason in one line, and another backend runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.backend import Options
from rnnc.compiler.backends.cuda import backend as module
from rnnc.compiler.backends.cuda.backend import CudaBackend
from rnnc.compiler.backends.cuda.codegen.triton_build import triton_unavailable_reason
from rnnc.compiler.backends.cuda.schedule.device_limits import unsupported_device_reason
from rnnc.compiler.backends.cuda.schedule.matmul_precision import float32_matmul_precision
from rnnc.compiler.backends.registry import AUTO_ORDER, Backends
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_source

ON_A_GPU = SimpleNamespace(
    device=SimpleNamespace(type="cuda", index=0), dtype=torch.float32, element_size=lambda: 4
)


@pytest.fixture(autouse=True)
def disable_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_interpreted", lambda: False)


def graph_of(name: str) -> OperatorGraph:
    graph = analyze(zoo_source(name), assume_missing=False).graph
    assert graph is not None
    return graph


def test_auto_tries_it_first_and_runs_on_the_cpu_all_the_same() -> None:
    assert AUTO_ORDER[0] == "cuda"
    assert rnnc.compile("zoo:rnn").backend != "cuda"


def test_by_name_on_the_cpu_is_one_line() -> None:
    with pytest.raises(rnnc.RnnError, match=r"cuda: it runs on NVIDIA's GPUs, not on cpu"):
        rnnc.compile("zoo:rnn", backend="cuda")


def test_a_model_for_a_gpu_is_made_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = Backends(graph_of("rnn"), "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    fake_gpu(monkeypatch, (9, 0))
    like = SimpleNamespace(device=SimpleNamespace(type="cpu"), new_empty=lambda *a, **k: ON_A_GPU)
    assert backends.choose_initial(like).name == "cuda"  # type: ignore[arg-type]
    with pytest.raises(rnnc.RnnError, match="not on cpu"):
        backends.choose(torch.empty(0))


def test_without_triton_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert re.fullmatch(
        r"Triton is not installed \(.*\); it comes with .*", triton_unavailable_reason()
    )
    refusal = CudaBackend(graph_of("rnn"), Options()).unsupported_reason(ON_A_GPU)  # type: ignore[arg-type]
    assert "Triton is not installed" in refusal


def fake_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(module, "triton_unavailable_reason", lambda: "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla T4")


def test_an_old_chip_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, (7, 5))
    assert unsupported_device_reason(0) == (
        "Tesla T4 has compute capability 7.5; 8.0 is the oldest it runs on"
    )
    refusal = CudaBackend(graph_of("rnn"), Options()).unsupported_reason(ON_A_GPU)  # type: ignore[arg-type]
    assert refusal.startswith("Tesla T4")


def test_a_broken_driver_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(index: int) -> tuple[int, int]:
        raise RuntimeError("CUDA driver error: unknown error\nmore\nlines")

    monkeypatch.setattr(torch.cuda, "get_device_capability", broken)
    assert (
        unsupported_device_reason(0) == "the GPU does not answer: CUDA driver error: unknown error"
    )


def test_a_driver_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA driver initialization failed, you might not have a GPU.\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    like = SimpleNamespace(device=SimpleNamespace(type="cpu"), new_empty=broken)
    with pytest.raises(rnnc.RnnError) as caught:
        Backends(graph_of("rnn"), "cuda").choose_initial(like)  # type: ignore[arg-type]
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "RNN501"
    assert diagnostic.message.endswith(
        "the GPU does not answer: CUDA driver initialization failed, you might not have a GPU."
    )


def test_an_old_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(__version__="3.0.0"))
    assert triton_unavailable_reason() == "Triton 3.0.0 is too old: 3.6 and 3.7 are known"


def remove_triton(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "triton_unavailable_reason", lambda: "Triton is not installed")
    return "Triton is not installed"


def use_old_gpu(monkeypatch: pytest.MonkeyPatch) -> str:
    fake_gpu(monkeypatch, (7, 5))
    return "Tesla T4 has compute capability 7.5"


def break_driver(monkeypatch: pytest.MonkeyPatch) -> str:
    def broken(index: int) -> tuple[int, int]:
        raise torch.AcceleratorError("CUDA error: out of memory\nmore")

    fake_gpu(monkeypatch, (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", broken)
    return "the GPU does not answer: CUDA error: out of memory"


@pytest.mark.parametrize("breaks", [remove_triton, use_old_gpu, break_driver])
def test_auto_runs_on_aten_unless_nothing_may_fall_back(
    breaks: Callable[[pytest.MonkeyPatch], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = breaks(monkeypatch)
    like: Any = SimpleNamespace(**vars(ON_A_GPU), is_floating_point=lambda: True)
    graph = graph_of("rnn")
    backends = Backends(graph)
    assert backends.choose(like).name == "aten"
    (name, skip_reason), *others = backends.skip_reasons(like).items()
    assert (name, others) == ("cuda", [])
    assert skip_reason.startswith(reason)
    assert Backends(graph, "aten", require="fused").choose(like).name == "aten"
    with pytest.raises(rnnc.RnnError, match=re.escape(f"cuda: {reason}")):
        Backends(graph, require="fused").choose(like)
    with pytest.raises(rnnc.RnnError, match=re.escape(f"cuda: {reason}")):
        Backends(graph, "cuda").choose(like)


def test_a_new_chip_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, (9, 0))
    assert CudaBackend(graph_of("rnn"), Options()).unsupported_reason(ON_A_GPU) == ""  # type: ignore[arg-type]


def test_what_no_kernel_is_written_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, (9, 0))
    graph = graph_of("pointer_sentinel_lstm")
    half = SimpleNamespace(device=ON_A_GPU.device, dtype=torch.float16, element_size=lambda: 2)
    refusal = CudaBackend(graph, Options()).unsupported_reason(half)  # type: ignore[arg-type]
    assert refusal == "no kernels for windows of time in torch.float16"


def test_tf32_follows_the_setting_of_recurrent_networks() -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        assert float32_matmul_precision() == "tf32"
        torch.backends.cudnn.allow_tf32 = False
        assert float32_matmul_precision() == "tf32x3"
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_these_tests_are_not_interpreted() -> None:
    assert not os.environ.get("TRITON_INTERPRET")
