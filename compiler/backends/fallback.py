"""Fall back to another backend when the primary one cannot be built at run time.

A disk may fill up, or a compiler vanish, after a model has begun to run. `auto` then goes on, more
slowly, and warns once; naming a backend, or requiring a fused one, gives the error instead. A
backend that builds kernels as it launches them fails in the middle of a call, which the fallback
then computes from the start.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.semantics.call import Call, CallResult

from .backend import Backend, Residuals
from .replay_protocol import Replay, ReplayingBackend
from .warn_once import warn_once


@runtime_checkable
class PrecompilingBackend(Protocol):
    """Backend that compiles all kernels of a kind of call before it runs one."""

    def precompile(self, call: Call, wrt: tuple[TensorKey, ...]) -> None:
        """Compile the kernels of a call, unless they are compiled already.

        Raises:
            RnnError: RNN503, when this machine cannot.
        """


class FallbackBackend:
    """Backend that runs calls on its primary backend or, if that fails, on the fallback.

    A kind of call stays with the backend selected for it. A primary that is not a
    `PrecompilingBackend` may fail in any call, so nothing is selected in advance: the metadata of
    the residuals names the backend that saved them, and a backward pass on the fallback begins with
    its own forward pass.
    """

    def __init__(self, primary: Backend, fallback: Backend) -> None:
        self.primary, self.fallback = primary, fallback
        self._compiles_lazily = not isinstance(primary, PrecompilingBackend)
        self._selected: dict[object, Backend] = {}
        self._primary_failed = False
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> FallbackBackend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FallbackBackend, (self.primary, self.fallback)

    @property
    def name(self) -> str:
        """Return the name of the backend that runs new kinds of calls."""
        return (self.fallback if self._primary_failed else self.primary).name

    @property
    def supports_autocast(self) -> bool:
        """Return the property of the backend that runs new kinds of calls."""
        return (self.fallback if self._primary_failed else self.primary).supports_autocast

    def unsupported_reason(self, like: Tensor) -> str:
        """Return the primary backend's reason."""
        return self.primary.unsupported_reason(like)

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the forward pass on the backend selected for this kind of call."""
        backend = self._select(call, wrt)
        if not self._compiles_lazily:
            return backend.forward(call, wrt)
        if backend is self.primary:
            try:
                return _append_owner(backend.forward(call, wrt), 1)
            except RnnError as error:
                self._switch_to_fallback(error)
        # Outside of the handler, whose traceback keeps the failed call's tensors alive.
        return _append_owner(self.fallback.forward(call, wrt), 2)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the selected backend's count; the larger one if the primary may still fail."""
        if self._compiles_lazily:
            return max(
                backend.residual_count(call, wrt) for backend in (self.primary, self.fallback)
            )
        return self._select(call, wrt).residual_count(call, wrt)

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the backward pass on the backend that saved the residuals."""
        if not self._compiles_lazily:
            return self._select(call, wrt).backward(call, wrt, residuals, cotangents)
        *metadata, owner = residuals.metadata
        own_residuals = replace(residuals, metadata=tuple(metadata))
        if owner == 2:
            return self.fallback.backward(call, wrt, own_residuals, cotangents)
        try:
            return self.primary.backward(call, wrt, own_residuals, cotangents)
        except RnnError as error:
            self._switch_to_fallback(error)
        _, own_residuals = self.fallback.forward(call, wrt)
        return self.fallback.backward(call, wrt, own_residuals, cotangents)

    def make_replay(self, call: Call) -> Replay | None:
        """Return the selected backend's replay of a call; None if it has none."""
        backend = self._select(call, ())
        return backend.make_replay(call) if isinstance(backend, ReplayingBackend) else None

    def plan(self) -> Plan | None:
        """Return the plan of the backend that runs new kinds of calls."""
        return (self.fallback if self._primary_failed else self.primary).plan()

    def explain(self, phase: Phase) -> str:
        """Describe in a few words how a phase of that plan is executed."""
        return (self.fallback if self._primary_failed else self.primary).explain(phase)

    def _select(self, call: Call, wrt: tuple[TensorKey, ...]) -> Backend:
        if self._compiles_lazily:
            return self.fallback if self._primary_failed else self.primary
        kind = (call.training, wrt, like_of(call).dtype)
        backend = self._selected.get(kind)
        if backend is not None:
            return backend
        with self._lock:
            if kind not in self._selected:
                self._selected[kind] = self._try_primary(call, wrt)
            return self._selected[kind]

    def _try_primary(self, call: Call, wrt: tuple[TensorKey, ...]) -> Backend:
        if self._primary_failed:
            return self.fallback
        assert isinstance(self.primary, PrecompilingBackend)
        try:
            self.primary.precompile(call, wrt)
        except RnnError as error:
            self._switch_to_fallback(error)
            return self.fallback
        return self.primary

    def _switch_to_fallback(self, error: RnnError) -> None:
        """Use the fallback from now on, and warn with the reason.

        Raises:
            RnnError: the same one, if another backend would fail as well.
        """
        if any(diagnostic.code != "RNN503" for diagnostic in error.diagnostics):
            raise error
        self._primary_failed = True
        why = "; ".join(diagnostic.message for diagnostic in error.diagnostics)
        warn_once(f"rnnc: on to backend `{self.fallback.name}`, which is slower: {why}")


def _append_owner(
    result_with_residuals: tuple[CallResult, Residuals], owner: int
) -> tuple[CallResult, Residuals]:
    """Append the number of the backend that saved them to the metadata of residuals."""
    result, residuals = result_with_residuals
    return result, replace(residuals, metadata=(*residuals.metadata, owner))
