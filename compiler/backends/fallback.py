"""A backend that compiles at run time, and the one that takes over where that fails.

A disk may fill up, or a compiler vanish, after a model has begun to run. `auto` then goes on, more
slowly, and says so once; whoever names a backend, or requires that nothing falls back, gets the
error. A backend that builds what it launches, when it launches it, fails in the middle of a call,
which the other one then computes anew.
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
    """A backend that builds all that a kind of call needs before it runs one."""

    def precompile(self, call: Call, wrt: tuple[TensorKey, ...]) -> None:
        """Build what the call needs, unless it is there.

        Raises:
            RnnError: RNN503, when this machine cannot.
        """


class FallbackBackend:
    """Runs each kind of call on the first backend or, once that cannot be built, the second.

    A kind, once decided, stays with its backend. Where the first is not `PrecompilingBackend`, and fails
    late, nothing is decided: what is saved says which one has saved it, and a backward pass on the
    other one begins with its own forward pass.
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
        """The name of the one that runs what is new."""
        return (self.fallback if self._primary_failed else self.primary).name

    @property
    def supports_autocast(self) -> bool:
        """As the one that runs what is new."""
        return (self.fallback if self._primary_failed else self.primary).supports_autocast

    def unsupported_reason(self, like: Tensor) -> str:
        """As the first one."""
        return self.primary.unsupported_reason(like)

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """The forward pass of the one that runs this kind of call."""
        one = self._select(call, wrt)
        if not self._compiles_lazily:
            return one.forward(call, wrt)
        if one is self.primary:
            try:
                return _append_owner(one.forward(call, wrt), 1)
            except RnnError as error:
                self._switch_to_fallback(error)
        # Out of the handler, whose traceback holds the tensors of the call that failed.
        return _append_owner(self.fallback.forward(call, wrt), 2)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """What that one saves; or either, where the first may yet fail."""
        if self._compiles_lazily:
            return max(one.residual_count(call, wrt) for one in (self.primary, self.fallback))
        return self._select(call, wrt).residual_count(call, wrt)

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward pass of the one that has saved."""
        if not self._compiles_lazily:
            return self._select(call, wrt).backward(call, wrt, residuals, cotangents)
        *notes, mark = residuals.metadata
        kept = replace(residuals, metadata=tuple(notes))
        if mark == 2:
            return self.fallback.backward(call, wrt, kept, cotangents)
        try:
            return self.primary.backward(call, wrt, kept, cotangents)
        except RnnError as error:
            self._switch_to_fallback(error)
        _, kept = self.fallback.forward(call, wrt)
        return self.fallback.backward(call, wrt, kept, cotangents)

    def make_replay(self, call: Call) -> Replay | None:
        """What that one has for calls like this one."""
        one = self._select(call, ())
        return one.make_replay(call) if isinstance(one, ReplayingBackend) else None

    def plan(self) -> Plan | None:
        """The plan of the one that runs what is new."""
        return (self.fallback if self._primary_failed else self.primary).plan()

    def explain(self, phase: Phase) -> str:
        """What runs a phase of that plan."""
        return (self.fallback if self._primary_failed else self.primary).explain(phase)

    def _select(self, call: Call, wrt: tuple[TensorKey, ...]) -> Backend:
        if self._compiles_lazily:
            return self.fallback if self._primary_failed else self.primary
        kind = (call.training, wrt, like_of(call).dtype)
        found = self._selected.get(kind)
        if found is not None:
            return found
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
        """Go on with the second one, and say why.

        Raises:
            RnnError: what is given, where another backend would fail as well.
        """
        if any(diagnostic.code != "RNN503" for diagnostic in error.diagnostics):
            raise error
        self._primary_failed = True
        why = "; ".join(diagnostic.message for diagnostic in error.diagnostics)
        warn_once(f"rnnc: on to backend `{self.fallback.name}`, which is slower: {why}")


def _append_owner(found: tuple[CallResult, Residuals], owner: int) -> tuple[CallResult, Residuals]:
    """What a forward pass gives, its last note saying whose it is."""
    result, saved = found
    return result, replace(saved, metadata=(*saved.metadata, owner))
