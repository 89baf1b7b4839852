"""Retry calls that run out of GPU memory with a rematerializing plan.

Before the retry all caches are released. The lean plan saves only what `memory="recompute"` saves;
later calls of at least this size use it at once. A second failure is one clear error.
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
    """An engine that can release memory and give up kernels that do not build."""

    def release_caches(self) -> None:
        """Release memory that can be rebuilt on demand."""

    def disable_persistent_kernels(self, reason: str) -> bool:
        """Stop using persistent kernels; return False if none were in use."""


class OomRetry:
    """A plan runner that falls back from the default plan to the lean one when memory runs out."""

    def __init__(self, default: PlanRunner, lean: PlanRunner, engine: DegradableEngine) -> None:
        self.default, self.lean, self.engine = default, lean, engine
        self._smallest_failure: int | None = None
        """Smallest T·B that has run out of memory."""

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the forward phases; append 1 to the residuals' metadata if the plan was lean, else 0.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
            torch.OutOfMemoryError: when memory runs out again in the retry.
        """
        lean = self._is_too_large(call)
        runner = self.lean if lean else self.default
        outcome, reason = self._attempt_or_fail(lambda: runner.forward(call, wrt))
        if outcome is None:
            self._free_memory(call, reason)
            lean = True
            outcome = self._retry(call, lambda: self.lean.forward(call, wrt))
        result, residuals = outcome
        if wrt:
            residuals = replace(residuals, metadata=(*residuals.metadata, int(lean)))
        return result, residuals

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the maximum number of residual tensors of either plan."""
        return max(runner.residual_count(call, wrt) for runner in (self.default, self.lean))

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the backward phases of the plan that ran forward; raise as `forward` does."""
        *metadata, lean = residuals.metadata
        plan_residuals = replace(residuals, metadata=tuple(metadata))
        runner = self.lean if lean else self.default
        if not _is_freed(plan_residuals):
            gradients, reason = self._attempt_or_fail(
                lambda: runner.backward(call, wrt, plan_residuals, cotangents)
            )
            if gradients is not None:
                return gradients
            self._free_memory(call, reason)
            _free_buffers(plan_residuals)

        def rerun() -> Sequence[Tensor | None]:
            _, lean_residuals = self.lean.forward(call, wrt)
            return self.lean.backward(call, wrt, lean_residuals, cotangents)

        return self._retry(call, rerun)

    def _is_too_large(self, call: Call) -> bool:
        size = call.steps * call.batch_size
        return self._smallest_failure is not None and size >= self._smallest_failure

    def _free_memory(self, call: Call, reason: str) -> None:
        """Record the size of the failed call, warn once, and release all caches."""
        size = call.steps * call.batch_size
        if self._smallest_failure is None or size < self._smallest_failure:
            self._smallest_failure = size
        device = like_of(call).device
        warn_once(f"rnnc: out of memory on {device}: trying again, {LEAN_PLAN_TEXT}: {reason}")
        self.engine.release_caches()
        # Reference cycles, as a traceback makes them, may still hold tensors.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _attempt_or_fail(self, work: Callable[[], T]) -> tuple[T | None, str]:
        """Call `work`; return its result, or None and the message if memory ran out.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
        """
        outcome, failure, reason = attempt(work)
        if failure == "kernel" and self.engine.disable_persistent_kernels(reason):
            outcome, failure, reason = attempt(work)
        if failure == "kernel":
            hint = "backend aten needs no kernels; update Triton and torch together"
            fail("RNN503", f"Triton cannot build or start a kernel: {reason}", hint=hint)
        if failure == "device":
            hint = "start again in a new process; `nvidia-smi` says whether the GPU answers"
            fail("RNN504", f"the GPU has failed: {reason}", hint=hint)
        return outcome, reason

    def _retry(self, call: Call, work: Callable[[], T]) -> T:
        """Call `work` once more and return its result.

        Raises:
            RnnError: as `_attempt_or_fail`.
            torch.OutOfMemoryError: when memory runs out again.
        """
        outcome, reason = self._attempt_or_fail(work)
        if outcome is None:
            raise torch.OutOfMemoryError(
                f"out of memory on {like_of(call).device}: a call of T={call.steps} and "
                f"B={call.batch_size} does not fit, also {LEAN_PLAN_TEXT}; take a smaller batch "
                f"or shorter sequences ({reason})"
            )
        return outcome


def attempt(work: Callable[[], T]) -> tuple[T | None, FailureKind, str]:
    """Call `work`; return its result, or None with the kind of failure and its message.

    The exception is dropped here, because the frames of its traceback hold tensors.
    """
    try:
        return work(), "", ""
    except Exception as error:
        failure, reason = classify_failure(error), summarize_error(error)
        if not failure:
            raise
    return None, failure, reason


def _free_buffers(residuals: Residuals) -> None:
    """Free the memory of saved buffers if the call owns them.

    Only residuals of eager calls have a context; those of torch.compile belong to its own graph.
    """
    if residuals.context is not None:
        for tensor in residuals.tensors[: residuals.metadata[0]]:
            tensor.untyped_storage().resize_(0)


def _is_freed(residuals: Residuals) -> bool:
    """Test for freed residuals, which a second backward pass (`retain_graph=True`) may meet."""
    return any(
        tensor.numel() and not tensor.untyped_storage().nbytes()
        for tensor in residuals.tensors[: residuals.metadata[0]]
    )
