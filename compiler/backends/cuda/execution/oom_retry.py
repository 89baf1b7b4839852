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

from rnnc.compiler.backends.aten.plan_runner import Planned
from rnnc.compiler.backends.backend import Saved
from rnnc.compiler.backends.warn_once import tell_once
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.grammar.diagnostics.errors import fail
from rnnc.operators.semantics.call import Call, Result

from .error_classification import Failure, failure_of, reason

Answer = TypeVar("Answer")

LESS: Final = 'saving less for the backward pass (as memory="recompute" does)'


class Sparing(Protocol):
    """An engine that can do with less."""

    def let_go(self) -> None:
        """Drop what takes memory and can be had again."""

    def simplify(self, why: str) -> bool:
        """Do without kernels that may not be built; whether that is anything new."""


class Enduring:
    """Runs calls by their usual plans and, where memory runs out, by lean ones."""

    def __init__(self, usual: Planned, lean: Planned, engine: Sparing) -> None:
        self.usual, self.lean, self.engine = usual, lean, engine
        self._too_many: int | None = None
        """The fewest steps, of all rows together, that there was no memory for."""

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward phases; the last note of what is saved says whether the plan is lean.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
            torch.OutOfMemoryError: when there is too little memory, also after a second try.
        """
        lean = self._is_too_large(call)
        planned = self.lean if lean else self.usual
        found, why = self._tried(lambda: planned.forward(call, wanted))
        if found is None:
            self._make_room(call, why)
            lean = True
            found = self._tried_again(call, lambda: self.lean.forward(call, wanted))
        result, saved = found
        return result, replace(saved, notes=(*saved.notes, int(lean))) if wanted else saved

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """How many tensors either plan saves, at most."""
        return max(planned.saves(call, wanted) for planned in (self.usual, self.lean))

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward phases; raises what `forward` does."""
        *notes, lean = saved.notes
        kept, planned = replace(saved, notes=tuple(notes)), self.lean if lean else self.usual
        if not _is_gone(kept):
            found, why = self._tried(lambda: planned.backward(call, wanted, kept, gradients))
            if found is not None:
                return found
            self._make_room(call, why)
            _drop(kept)

        def again() -> Sequence[Tensor | None]:
            _, fewer = self.lean.forward(call, wanted)
            return self.lean.backward(call, wanted, fewer, gradients)

        return self._tried_again(call, again)

    def _is_too_large(self, call: Call) -> bool:
        return self._too_many is not None and call.steps * call.rows >= self._too_many

    def _make_room(self, call: Call, why: str) -> None:
        """Let go of what can be had again, and say so."""
        size = call.steps * call.rows
        self._too_many = size if self._too_many is None else min(self._too_many, size)
        tell_once(f"rnnc: out of memory on {like_of(call).device}: trying again, {LESS}: {why}")
        self.engine.let_go()
        # Cycles of Python objects may hold tensors: those of a traceback do.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _tried(self, work: Callable[[], Answer]) -> tuple[Answer | None, str]:
        """What some work answers; or nothing, and how it ran out of memory.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
        """
        found, failure, why = attempt(work)
        if failure == "kernel" and self.engine.simplify(why):
            found, failure, why = attempt(work)
        if failure == "kernel":
            hint = "backend aten needs no kernels; update Triton and torch together"
            fail("RNN503", f"Triton cannot build or start a kernel: {why}", hint=hint)
        if failure == "device":
            hint = "start again in a new process; `nvidia-smi` says whether the GPU answers"
            fail("RNN504", f"the GPU has failed: {why}", hint=hint)
        return found, why

    def _tried_again(self, call: Call, work: Callable[[], Answer]) -> Answer:
        """What a second try answers.

        Raises:
            RnnError: as the first one.
            torch.OutOfMemoryError: when it runs out of memory, too.
        """
        found, why = self._tried(work)
        if found is None:
            raise torch.OutOfMemoryError(
                f"out of memory on {like_of(call).device}: a call of T={call.steps} and "
                f"B={call.rows} does not fit, also {LESS}; take a smaller batch or shorter "
                f"sequences ({why})"
            )
        return found


def attempt(work: Callable[[], Answer]) -> tuple[Answer | None, Failure, str]:
    """What some work answers; or nothing, how it has failed, and why in words.

    The exception is gone when this returns, and with it the tensors that its frames have held.
    """
    try:
        return work(), "", ""
    except Exception as error:
        failure, why = failure_of(error), reason(error)
        if not failure:
            raise
    return None, failure, why


def _drop(saved: Saved) -> None:
    """Free the buffers that were saved, where nobody else can have them.

    What torch.compile has kept is its own: only a call in eager mode brings its plan along.
    """
    if saved.more is not None:
        for tensor in saved.tensors[: saved.notes[0]]:
            tensor.untyped_storage().resize_(0)


def _is_gone(saved: Saved) -> bool:
    """Whether what was saved has been dropped: a backward pass may run a second time."""
    return any(
        tensor.numel() and not tensor.untyped_storage().nbytes()
        for tensor in saved.tensors[: saved.notes[0]]
    )
