"""Calls on a GPU that may run out of memory: once more with less, and then one clear error.

The second try comes after everything was let go that can be had again. It keeps for the backward
pass only what `memory="recompute"` keeps; so do later calls that are as large.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.plan_runner import PlanRunner
from rnnc.compiler.backends.backend import Residuals
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.grammar.diagnostics.errors import fail
from rnnc.operators.semantics.call import Call, CallResult

from .error_classification import FailureKind, classify_failure, summarize_error

T = TypeVar("T")

LEAN_PLAN_TEXT: Final = 'saving less for the backward pass (as memory="recompute" does)'


class DegradableEngine(Protocol):
    """An engine that can do with less."""

    def release_caches(self) -> None:
        """Drop what takes memory and can be had again."""

    def disable_persistent_kernels(self, why: str) -> bool:
        """Do without kernels that may not be built; whether that is anything new."""


class OomRetry:
    """Runs calls by their usual plans and, where memory runs out, by lean ones."""

    def __init__(self, usual: PlanRunner, lean: PlanRunner, engine: DegradableEngine) -> None:
        self.default, self.lean, self.engine = usual, lean, engine
        self._smallest_failure: int | None = None
        """The fewest steps, of all rows together, that there was no memory for."""

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """The forward phases; the last note of what is saved says whether the plan is lean.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
            torch.OutOfMemoryError: when there is too little memory, also after a second try.
        """
        lean = self._is_too_large(call)
        planned = self.lean if lean else self.default
        found, why = self._attempt_or_fail(lambda: planned.forward(call, wrt))
        if found is None:
            self._free_memory(call, why)
            lean = True
            found = self._retry(call, lambda: self.lean.forward(call, wrt))
        result, saved = found
        return result, replace(saved, metadata=(*saved.metadata, int(lean))) if wrt else saved

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """How many tensors either plan saves, at most."""
        return max(planned.residual_count(call, wrt) for planned in (self.default, self.lean))

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward phases; raises what `forward` does."""
        *notes, lean = residuals.metadata
        kept, planned = (
            replace(residuals, metadata=tuple(notes)),
            self.lean if lean else self.default,
        )
        if not _is_freed(kept):
            found, why = self._attempt_or_fail(
                lambda: planned.backward(call, wrt, kept, cotangents)
            )
            if found is not None:
                return found
            self._free_memory(call, why)
            _free_buffers(kept)

        def again() -> Sequence[Tensor | None]:
            _, fewer = self.lean.forward(call, wrt)
            return self.lean.backward(call, wrt, fewer, cotangents)

        return self._retry(call, again)

    def _is_too_large(self, call: Call) -> bool:
        return (
            self._smallest_failure is not None
            and call.steps * call.batch_size >= self._smallest_failure
        )

    def _free_memory(self, call: Call, why: str) -> None:
        """Let go of what can be had again, and say so."""
        size = call.steps * call.batch_size
        self._smallest_failure = (
            size if self._smallest_failure is None else min(self._smallest_failure, size)
        )
        warn_once(
            f"rnnc: out of memory on {like_of(call).device}: trying again, {LEAN_PLAN_TEXT}: {why}"
        )
        self.engine.release_caches()
        # Cycles of Python objects may hold tensors: those of a traceback do.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _attempt_or_fail(self, work: Callable[[], T]) -> tuple[T | None, str]:
        """What some work answers; or nothing, and how it ran out of memory.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
        """
        found, failure, why = attempt(work)
        if failure == "kernel" and self.engine.disable_persistent_kernels(why):
            found, failure, why = attempt(work)
        if failure == "kernel":
            hint = "backend aten needs no kernels; update Triton and torch together"
            fail("RNN503", f"Triton cannot build or start a kernel: {why}", hint=hint)
        if failure == "device":
            hint = "start again in a new process; `nvidia-smi` says whether the GPU answers"
            fail("RNN504", f"the GPU has failed: {why}", hint=hint)
        return found, why

    def _retry(self, call: Call, work: Callable[[], T]) -> T:
        """What a second try answers.

        Raises:
            RnnError: as the first one.
            torch.OutOfMemoryError: when it runs out of memory, too.
        """
        found, why = self._attempt_or_fail(work)
        if found is None:
            raise torch.OutOfMemoryError(
                f"out of memory on {like_of(call).device}: a call of T={call.steps} and "
                f"B={call.batch_size} does not fit, also {LEAN_PLAN_TEXT}; take a smaller batch or shorter "
                f"sequences ({why})"
            )
        return found


def attempt(work: Callable[[], T]) -> tuple[T | None, FailureKind, str]:
    """What some work answers; or nothing, how it has failed, and why in words.

    The exception is gone when this returns, and with it the tensors that its frames have held.
    """
    try:
        return work(), "", ""
    except Exception as error:
        failure, why = classify_failure(error), summarize_error(error)
        if not failure:
            raise
    return None, failure, why


def _free_buffers(saved: Residuals) -> None:
    """Free the buffers that were saved, where nobody else can have them.

    What torch.compile has kept is its own: only a call in eager mode brings its plan along.
    """
    if saved.context is not None:
        for tensor in saved.tensors[: saved.metadata[0]]:
            tensor.untyped_storage().resize_(0)


def _is_freed(saved: Residuals) -> bool:
    """Whether what was saved has been dropped: a backward pass may run a second time."""
    return any(
        tensor.numel() and not tensor.untyped_storage().nbytes()
        for tensor in saved.tensors[: saved.metadata[0]]
    )
