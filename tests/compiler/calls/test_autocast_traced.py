"""Check that a traced call computes in autocast's dtype on a backend that supports it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import rnnc
from rnnc.compiler.backends.aten.interpreter import AtenEngine
from rnnc.compiler.backends.cuda import backend as module
from rnnc.compiler.backends.cuda.backend import CudaBackend
from rnnc.compiler.torch_integration.custom_op import backends_from_key

SPEC = "input x: real[3]\nstate h: real[5]\nh' = x ⊕ h\noutput y: real[2]\ny = V h' + b\n"

pytestmark = pytest.mark.filterwarnings("ignore")


class Engine(AtenEngine):
    """Runs the plans of `cuda` through ATen calls, on the CPU."""

    def release_caches(self) -> None:
        """There is nothing."""

    def disable_persistent_kernels(self, why: str) -> bool:
        """There is nothing simpler."""
        return False


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "CudaEngine", Engine)
    monkeypatch.setattr(CudaBackend, "unsupported_reason", lambda self, like: "")
    torch._dynamo.reset()
    backends_from_key.cache_clear()
    yield
    torch._dynamo.reset()
    backends_from_key.cache_clear()


@pytest.mark.parametrize(("backend", "obeys"), [("cuda", True), ("aten", False)])
def test_a_compiled_call_computes_what_an_eager_one_does(backend: str, obeys: bool) -> None:
    torch.manual_seed(0)
    model = rnnc.compile(SPEC, backend=backend)
    traced = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(6, 2, 3)
    results = []
    for call in (model, traced):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, state = call(x)
        assert y.dtype == state.h.dtype == torch.float32
        y.square().sum().backward()
        grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        assert len(grads) == 5
        results.append([y.detach(), *grads])
    plain = model(x)[0].detach()
    assert torch.equal(results[0][0], plain) is not obeys
    for eager, compiled in zip(*results, strict=True):
        assert torch.equal(eager, compiled)
    assert torch.equal(traced(x)[0].detach(), plain), "outside of autocast as ever"
