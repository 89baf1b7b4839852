"""Registry of backends, and the choice of one by graph, device, dtype and requirement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from rnnc.compiler.backends.aten.backend import AtenBackend
from rnnc.compiler.backends.cpu.backend import CpuBackend
from rnnc.compiler.backends.cuda.backend import CudaBackend
from rnnc.compiler.errors import Unsupported
from rnnc.grammar.diagnostics.errors import fail
from rnnc.operators.graph.operator_graph import OperatorGraph

from .backend import Backend, Options
from .fallback import FallbackBackend
from .reference import ReferenceBackend

BACKENDS: Final[dict[str, Callable[[OperatorGraph, Options], Backend]]] = {
    "reference": ReferenceBackend,
    "aten": AtenBackend,
    "cpu": CpuBackend,
    "cuda": CudaBackend,
}

AUTO_ORDER: Final = ("cuda", "cpu", "aten", "reference")
"""Order in which `auto` tries backends, fastest first; on CPUs `cuda` runs only by name."""

FALLBACKS: Final = ("aten", "reference")
"""Backends without generated kernels, which always build."""

REQUIREMENTS: Final = ("fused",)


class Backends:
    """Backends that may run one model, in the order in which they are tried."""

    def __init__(
        self,
        graph: OperatorGraph,
        name: str = "auto",
        options: Options | None = None,
        require: str | None = None,
    ) -> None:
        """Construct the candidate backends.

        Raises:
            ValueError: for an unknown backend, requirement or pass.
            RnnError: if the named backend cannot run the graph (RNN501).
        """
        if name not in ("auto", *BACKENDS):
            known = ", ".join(["auto", *BACKENDS])
            raise ValueError(f"backend: expected one of {known}, got {name!r}")
        if require is not None and require not in REQUIREMENTS:
            raise ValueError(f"require: expected one of {', '.join(REQUIREMENTS)}, got {require!r}")
        self.name, self.require = name, require
        self.unsupported: dict[str, str] = {}
        """Reason by name for each backend that cannot run the graph."""
        self.candidates: list[Backend] = []
        """Backends that can run the graph on some device."""
        for candidate in AUTO_ORDER if name == "auto" else (name,):
            try:
                self.candidates.append(BACKENDS[candidate](graph, options or Options()))
            except Unsupported as error:
                self.unsupported[candidate] = str(error)
        if name == "auto" and require is None:
            fallback = next((b for b in self.candidates if b.name in FALLBACKS), None)
            self.candidates = [
                backend
                if fallback is None or backend.name in FALLBACKS
                else FallbackBackend(backend, fallback)
                for backend in self.candidates
            ]
        if not self.candidates:
            fail("RNN501", f"backend `{name}` cannot run `{graph.name}`: {self.unsupported[name]}")

    def skip_reasons(self, like: Tensor) -> dict[str, str]:
        """Return the reason by name for each backend tried before the chosen one."""
        chosen = self.choose(like)
        tried = self._device_candidates(like)
        skipped = tried[: tried.index(chosen)]
        return self.unsupported | {
            backend.name: backend.unsupported_reason(like) for backend in skipped
        }

    def _device_candidates(self, like: Tensor) -> list[Backend]:
        """Return the candidates for a device: `cpu` and `cuda` only on their own, unless named."""
        if self.name != "auto":
            return self.candidates
        excluded = {"cpu": "cuda", "cuda": "cpu"}.get(like.device.type, "")
        return [backend for backend in self.candidates if backend.name != excluded]

    def choose_initial(self, like: Tensor) -> Backend:
        """Choose the backend of a new model, which is on the CPU and may yet be moved to a GPU.

        Raises:
            RnnError: as `choose`.
        """
        import torch

        if self.name == "cuda" and like.device.type == "cpu" and torch.cuda.is_available():
            try:
                like = like.new_empty(0, device="cuda")
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                fail(
                    "RNN501",
                    f"backend `cuda` cannot run this model: the GPU does not answer: {reason}",
                )
        return self.choose(like)

    def choose(self, like: Tensor) -> Backend:
        """Choose the first candidate that supports a tensor's device and dtype.

        Raises:
            RnnError: if none does, or only one that is not fused although that is required
                (RNN501).
        """
        unsupported_by_name = dict(self.unsupported)
        on_gpu = self.name == "auto" and like.device.type == "cuda"
        for backend in self._device_candidates(like):
            reason = backend.unsupported_reason(like)
            if reason:
                unsupported_by_name[backend.name] = reason
            elif self.require == "fused" and backend.name == "reference":
                unsupported_by_name[backend.name] = "it runs one operation at a time"
            elif self.require == "fused" and backend.name == "aten" and on_gpu:
                unsupported_by_name[backend.name] = "on a GPU it is what runs where kernels do not"
            else:
                return backend
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unsupported_by_name.items())
        fail(
            "RNN501",
            f"no {'fused ' if self.require else ''}backend runs this model on {like.device} in "
            f"{str(like.dtype).removeprefix('torch.')} ({reasons})",
            hint="leave `require` out to run it all the same" if self.require else "",
        )
