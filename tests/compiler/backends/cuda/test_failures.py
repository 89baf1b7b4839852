"""Recovery from out-of-memory, device and kernel build failures in the middle of a run.

No GPU is needed: plans of `cuda` run through ATen calls on the CPU, with injected failures.
"""

from __future__ import annotations

import re
import subprocess
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.backends import warn_once
from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.aten.interpreter import AtenEngine
from rnnc.compiler.backends.cuda import backend as module
from rnnc.compiler.backends.cuda.backend import CudaBackend
from rnnc.compiler.backends.cuda.execution.engine import CudaEngine
from rnnc.compiler.backends.cuda.execution.error_classification import (
    classify_failure,
    summarize_error,
)
from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.schedule.plan import Phase
from rnnc.compiler.torch_integration.custom_op import backends_from_key
from rnnc.runtime.cli import diagnose
from support.comparison.assertions import assert_close, parameter_gradients

MODEL = "input x: real[3]\nstate h: real[5]\nh' = x ⊕ h\noutput y: real[2]\ny = V h'\n"


class FaultyEngine(AtenEngine):
    """ATen's engine in place of the GPU's, with failures injected by the index of a pass."""

    faults: ClassVar[dict[int, Exception]] = {}
    passes: ClassVar[list[str]] = []
    release_count: ClassVar[int] = 0
    has_persistent_kernels: ClassVar[bool] = False

    def run_phases(self, phases: Iterable[Phase], memory: AtenMemory) -> None:
        pass_phases = list(phases)
        backward = bool(pass_phases) and pass_phases[0] in memory.plan.backward_phases
        FaultyEngine.passes.append(
            f"{memory.plan.request.memory} {'back' if backward else 'forth'}"
        )
        fault = FaultyEngine.faults.get(len(FaultyEngine.passes) - 1)
        if fault is not None:
            raise fault
        super().run_phases(pass_phases, memory)

    def release_caches(self) -> None:
        FaultyEngine.release_count += 1

    def disable_persistent_kernels(self, reason: str) -> bool:
        had_persistent_kernels, FaultyEngine.has_persistent_kernels = (
            FaultyEngine.has_persistent_kernels,
            False,
        )
        return had_persistent_kernels


@pytest.fixture(autouse=True)
def use_faulty_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CudaEngine", FaultyEngine)
    monkeypatch.setattr(CudaBackend, "unsupported_reason", lambda self, like: "")
    monkeypatch.setattr(Backends, "_device_candidates", lambda self, like: self.candidates)
    monkeypatch.setattr(warn_once, "_warned", set())
    for name, value in (
        ("faults", {}),
        ("passes", []),
        ("release_count", 0),
        ("has_persistent_kernels", False),
    ):
        monkeypatch.setattr(FaultyEngine, name, value)


def out_of_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


def build_failure() -> RuntimeError:
    """Return an exception whose traceback has frames of Triton."""
    namespace: dict[str, Any] = {"__name__": "triton.runtime.build"}
    text = "def build():\n    raise RuntimeError('Failed to find C compiler. Please specify')\n"
    exec(text, namespace)
    try:
        namespace["build"]()
    except RuntimeError as error:
        return error
    raise AssertionError


def compile_model(**options: Any) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(MODEL, **options)


def inputs(rows: int = 2) -> Tensor:
    return torch.randn(4, rows, 3, generator=torch.Generator().manual_seed(1))


def step(net: CompiledRNN, rows: int = 2) -> dict[str, Tensor]:
    net.zero_grad()
    net(inputs(rows))[0].square().sum().backward()
    return parameter_gradients(net)


def rnnc_lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("rnnc: ")]


@pytest.mark.parametrize("said", [{}, {"require": "fused"}, {"backend": "cuda"}], ids=str)
@pytest.mark.parametrize(
    ("at", "ran"),
    [
        (0, ["save forth", "recompute forth", "recompute back"]),
        (1, ["save forth", "save back", "recompute forth", "recompute back"]),
    ],
    ids=["forward", "backward"],
)
def test_too_little_memory_is_tried_again_with_less(
    at: int, ran: list[str], said: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    """A retry is no fallback: it also happens with `require="fused"`."""
    right = step(compile_model(backend="reference"))
    net = compile_model(**said)
    FaultyEngine.faults = {at: out_of_memory()}
    assert_close(step(net), right, 1e-5)
    assert FaultyEngine.passes == ran
    assert FaultyEngine.release_count == 1
    (line,) = rnnc_lines(capfd)
    assert line == (
        "rnnc: out of memory on cpu: trying again, saving less for the backward pass "
        '(as memory="recompute" does): CUDA out of memory. Tried to allocate 2.00 GiB.'
    )
    del FaultyEngine.passes[:]
    FaultyEngine.faults = {}
    step(net)
    assert FaultyEngine.passes == ["recompute forth", "recompute back"]
    del FaultyEngine.passes[:]
    step(net, rows=1)
    assert FaultyEngine.passes == ["save forth", "save back"]
    assert rnnc_lines(capfd) == []


@pytest.mark.parametrize("said", [{}, {"require": "fused"}, {"memory": "recompute"}], ids=str)
@pytest.mark.parametrize("at", [{0, 1}, {1, 2}, {1, 3}], ids=str)
def test_too_little_memory_twice_is_one_clear_error(at: set[int], said: dict[str, str]) -> None:
    net = compile_model(**said)
    FaultyEngine.faults = {number: out_of_memory() for number in at}
    with pytest.raises(torch.OutOfMemoryError) as caught:
        step(net)
    assert str(caught.value) == (
        "out of memory on cpu: a call of T=4 and B=2 does not fit, also saving less for the "
        'backward pass (as memory="recompute" does); take a smaller batch or shorter sequences '
        "(CUDA out of memory. Tried to allocate 2.00 GiB.)"
    )
    assert diagnose(caught.value).code == "RNN902"
    assert diagnose(caught.value).message == str(caught.value)


def test_a_second_backward_pass_computes_what_was_dropped() -> None:
    net, right = compile_model(), compile_model(backend="reference")
    x = inputs()
    score = net(x)[0].square().sum()
    FaultyEngine.faults = {1: out_of_memory()}
    score.backward(retain_graph=True)
    score.backward()
    expected = right(x)[0].square().sum()
    expected.backward(retain_graph=True)
    expected.backward()
    assert_close(parameter_gradients(net), parameter_gradients(right), 1e-5)
    assert FaultyEngine.passes.count("save back") == 1


def test_what_was_saved_is_let_go_before_the_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    net, freed_bytes = compile_model(), []
    resize = torch.UntypedStorage.resize_
    monkeypatch.setattr(
        torch.UntypedStorage,
        "resize_",
        lambda s, size: (freed_bytes.append(s.nbytes()), resize(s, size)),
    )
    FaultyEngine.faults = {1: out_of_memory()}
    step(net)
    assert sum(freed_bytes) >= 4 * 2 * 5 * 4, "at least the states, (T, B, 5) of 4 bytes"


def test_evaluation_is_tried_again_too() -> None:
    net, right = compile_model(), compile_model(backend="reference")
    FaultyEngine.faults = {0: out_of_memory()}
    with torch.no_grad():
        assert_close(net(inputs())[0], right(inputs())[0], 1e-5)


@pytest.mark.parametrize("at", [0, 1], ids=["forward", "backward"])
def test_auto_goes_on_where_a_kernel_cannot_be_built(
    at: int, capfd: pytest.CaptureFixture[str]
) -> None:
    right = step(compile_model(backend="reference"))
    net = compile_model()
    assert net.backend == "cuda"
    FaultyEngine.faults = {at: build_failure()}
    for _ in range(2):
        assert_close(step(net), right, 1e-5)
    assert net.backend == "aten"
    assert len(FaultyEngine.passes) == at + 1
    assert rnnc_lines(capfd) == [
        "rnnc: on to backend `aten`, which is slower: Triton cannot build or start a kernel: "
        "Failed to find C compiler. Please specify"
    ]


@pytest.mark.parametrize("said", [{}, {"require": "fused"}, {"backend": "cuda"}], ids=str)
@pytest.mark.parametrize("at", [0, 1], ids=["forward", "backward"])
def test_simpler_kernels_come_first(
    at: int, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaultyEngine, "has_persistent_kernels", True)
    right = step(compile_model(backend="reference"))
    net = compile_model(**said)
    FaultyEngine.faults = {at: build_failure()}
    assert_close(step(net), right, 1e-5)
    assert net.backend == "cuda"
    assert len(FaultyEngine.passes) == 3


def test_an_engine_without_kept_weights_has_nothing_simpler(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = CudaEngine()
    files: Any = engine._kernel_files
    graph, chip = (types.SimpleNamespace(strategy=strategy) for strategy in ("graph", "chip"))
    files["call"] = types.SimpleNamespace(strategies={0: graph})
    assert not engine.disable_persistent_kernels("no room")
    files["other"] = types.SimpleNamespace(strategies={0: chip})
    assert engine.disable_persistent_kernels("no room")
    assert not engine.disable_persistent_kernels("no room")
    assert rnnc_lines(capfd) == [
        "rnnc: on to tier graph, which is slower: Triton cannot build a kernel: no room"
    ]


@pytest.mark.parametrize("said", [{"require": "fused"}, {"backend": "cuda"}], ids=str)
@pytest.mark.parametrize("at", [0, 1], ids=["forward", "backward"])
def test_who_asks_for_kernels_gets_the_error(at: int, said: dict[str, str]) -> None:
    net = compile_model(**said)
    FaultyEngine.faults = {at: build_failure()}
    with pytest.raises(rnnc.RnnError, match=r"RNN503.*Triton cannot build or start a kernel"):
        step(net)


def test_what_one_backend_saved_goes_back_to_it(capfd: pytest.CaptureFixture[str]) -> None:
    """A forward pass that ran before kernels began to fail keeps its backend."""
    net, right = compile_model(), step(compile_model(backend="reference"))
    score = net(inputs())[0].square().sum()
    FaultyEngine.faults = {1: build_failure()}
    with torch.no_grad():
        net(inputs())
    assert net.backend == "aten"
    score.backward()
    assert_close(parameter_gradients(net), right, 1e-5)
    assert FaultyEngine.passes == ["save forth", "save forth", "save back"]


@pytest.mark.parametrize("said", [{}, {"require": "fused"}], ids=str)
def test_a_gpu_that_has_failed_is_one_error_whoever_asks(said: dict[str, str]) -> None:
    net = compile_model(**said)
    FaultyEngine.faults = {0: torch.AcceleratorError("CUDA error: an illegal memory access\nmore")}
    with pytest.raises(rnnc.RnnError, match=r"RNN504.*the GPU has failed: .*illegal memory access"):
        step(net)


def test_other_errors_pass() -> None:
    net = compile_model()
    FaultyEngine.faults = {0: ZeroDivisionError("division by zero")}
    with pytest.raises(ZeroDivisionError):
        step(net)


@pytest.fixture
def tracer() -> Iterator[None]:
    """Reset compiled graphs and cached backends before and after a test."""
    torch._dynamo.reset()
    backends_from_key.cache_clear()
    yield
    torch._dynamo.reset()
    backends_from_key.cache_clear()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("tracer")
def test_a_compiled_call_goes_on_too() -> None:
    """The custom operator saves a fixed number of tensors, whichever backend runs."""
    net, right = compile_model(), step(compile_model(backend="reference"))
    traced = torch.compile(net, backend="aot_eager", fullgraph=True)
    faults = (None, None), (1, out_of_memory()), (0, build_failure()), (None, None)
    for ahead, fault in faults:
        if ahead is not None and fault is not None:
            FaultyEngine.faults = {len(FaultyEngine.passes) + ahead: fault}
        net.zero_grad()
        traced(inputs())[0].square().sum().backward()
        assert_close(parameter_gradients(net), right, 1e-5)
    assert FaultyEngine.passes == [
        *("save forth", "save back"),
        *("save forth", "save back", "recompute forth", "recompute back"),
        "recompute forth",
    ]


ERRORS: list[tuple[Callable[[], Exception], str]] = [
    (out_of_memory, "memory"),
    (lambda: RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), "memory"),
    (lambda: RuntimeError("Triton Error [CUDA]: out of memory"), "memory"),
    (lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "memory"),
    (lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
    (build_failure, "kernel"),
    (lambda: RuntimeError("Triton Error [CUDA]: device kernel image is invalid"), "kernel"),
    (lambda: RuntimeError("Triton Error [CUDA]: too many resources requested"), "kernel"),
    (lambda: RuntimeError("Triton Error [CUDA]: an illegal memory access was"), "device"),
    (lambda: RuntimeError("CUDA error: unspecified launch failure"), "device"),
    (lambda: RuntimeError("CUDA driver initialization failed"), "device"),
    (lambda: torch.AcceleratorError("CUDA error: device-side assert triggered"), "device"),
    (lambda: subprocess.CalledProcessError(1, "gcc"), ""),
    (lambda: ValueError("out of memory"), ""),
    (lambda: rnnc.RnnError(()), ""),
]


@pytest.mark.parametrize(("make", "kind"), ERRORS)
def test_failures_are_told_apart(make: Callable[[], Exception], kind: str) -> None:
    error = make()
    assert classify_failure(error) == kind
    assert "\n" not in summarize_error(error)


def test_tritons_own_errors_are_a_kernels() -> None:
    def triton_errors() -> Iterator[Exception]:
        for name, text in (
            ("OutOfResources", "out of resource: shared memory, Required: 278528, limit: 232448"),
            ("CompilationError", "at 3:4:\n    x = tl.dot(a)\nshapes do not fit"),
        ):
            kind = types.new_class(name, (Exception,))
            kind.__module__ = "triton.runtime.errors"
            yield kind(text)

    results = [(classify_failure(error), summarize_error(error)) for error in triton_errors()]
    assert results == [
        (
            "kernel",
            "OutOfResources: out of resource: shared memory, Required: 278528, limit: 232448",
        ),
        ("kernel", "CompilationError: shapes do not fit"),
    ]


def test_steps_that_cannot_be_recorded_are_launched(capfd: pytest.CaptureFixture[str]) -> None:
    from rnnc.compiler.backends.cuda.execution import cuda_graphs

    class CountingKernel:
        def __init__(self) -> None:
            self.tensors = (torch.zeros(100, dtype=torch.int64),)
            self.capture_key = ("count", self.tensors[0].data_ptr())

        def __call__(self, clock: Tensor, ahead: int, rows: int) -> None:
            t = int(clock[0]) + ahead
            if t < int(clock[1]):
                self.tensors[0][t] += 1

    def fail_to_capture(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    kernel, graphs = CountingKernel(), cuda_graphs.CudaGraphCache()
    cuda_graphs.replay_steps([kernel], 100, 1, graphs, fail_to_capture)
    assert kernel.tensors[0].tolist() == [1] * 100
    assert graphs.capture_failed
    (line,) = rnnc_lines(capfd)
    assert re.fullmatch(
        r"rnnc: steps cannot be recorded .* which is slower: CUDA error: operation not .*", line
    )
