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

from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.semantics.call import Call, Result

from .backend import Backend, Saved
from .replay_protocol import Again, Repeating
from .warn_once import tell_once


@runtime_checkable
class Compiling(Protocol):
    """A backend that builds all that a kind of call needs before it runs one."""

    def prepare(self, call: Call, wanted: tuple[Key, ...]) -> None:
        """Build what the call needs, unless it is there.

        Raises:
            RnnError: RNN503, when this machine cannot.
        """


class Guarded:
    """Runs each kind of call on the first backend or, once that cannot be built, the second.

    A kind, once decided, stays with its backend. Where the first is not `Compiling`, and fails
    late, nothing is decided: what is saved says which one has saved it, and a backward pass on the
    other one begins with its own forward pass.
    """

    def __init__(self, first: Backend, second: Backend) -> None:
        self.first, self.second = first, second
        self._late = not isinstance(first, Compiling)
        self._decided: dict[object, Backend] = {}
        self._failed = False
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Guarded:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Guarded, (self.first, self.second)

    @property
    def name(self) -> str:
        """The name of the one that runs what is new."""
        return (self.second if self._failed else self.first).name

    @property
    def obeys_autocast(self) -> bool:
        """As the one that runs what is new."""
        return (self.second if self._failed else self.first).obeys_autocast

    def refuses(self, like: Tensor) -> str:
        """As the first one."""
        return self.first.refuses(like)

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward pass of the one that runs this kind of call."""
        one = self._one(call, wanted)
        if not self._late:
            return one.forward(call, wanted)
        if one is self.first:
            try:
                return _marked(one.forward(call, wanted), 1)
            except RnnError as error:
                self._give_up(error)
        # Out of the handler, whose traceback holds the tensors of the call that failed.
        return _marked(self.second.forward(call, wanted), 2)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """What that one saves; or either, where the first may yet fail."""
        if self._late:
            return max(one.saves(call, wanted) for one in (self.first, self.second))
        return self._one(call, wanted).saves(call, wanted)

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward pass of the one that has saved."""
        if not self._late:
            return self._one(call, wanted).backward(call, wanted, saved, gradients)
        *notes, mark = saved.notes
        kept = replace(saved, notes=tuple(notes))
        if mark == 2:
            return self.second.backward(call, wanted, kept, gradients)
        try:
            return self.first.backward(call, wanted, kept, gradients)
        except RnnError as error:
            self._give_up(error)
        _, kept = self.second.forward(call, wanted)
        return self.second.backward(call, wanted, kept, gradients)

    def again(self, call: Call) -> Again | None:
        """What that one has for calls like this one."""
        one = self._one(call, ())
        return one.again(call) if isinstance(one, Repeating) else None

    def plan(self) -> Plan | None:
        """The plan of the one that runs what is new."""
        return (self.second if self._failed else self.first).plan()

    def explain(self, phase: Phase) -> str:
        """What runs a phase of that plan."""
        return (self.second if self._failed else self.first).explain(phase)

    def _one(self, call: Call, wanted: tuple[Key, ...]) -> Backend:
        if self._late:
            return self.second if self._failed else self.first
        kind = (call.training, wanted, like_of(call).dtype)
        found = self._decided.get(kind)
        if found is not None:
            return found
        with self._lock:
            if kind not in self._decided:
                self._decided[kind] = self._choice(call, wanted)
            return self._decided[kind]

    def _choice(self, call: Call, wanted: tuple[Key, ...]) -> Backend:
        if self._failed:
            return self.second
        assert isinstance(self.first, Compiling)
        try:
            self.first.prepare(call, wanted)
        except RnnError as error:
            self._give_up(error)
            return self.second
        return self.first

    def _give_up(self, error: RnnError) -> None:
        """Go on with the second one, and say why.

        Raises:
            RnnError: what is given, where another backend would fail as well.
        """
        if any(diagnostic.code != "RNN503" for diagnostic in error.diagnostics):
            raise error
        self._failed = True
        why = "; ".join(diagnostic.message for diagnostic in error.diagnostics)
        tell_once(f"rnnc: on to backend `{self.second.name}`, which is slower: {why}")


def _marked(found: tuple[Result, Saved], mark: int) -> tuple[Result, Saved]:
    """What a forward pass gives, its last note saying whose it is."""
    result, saved = found
    return result, replace(saved, notes=(*saved.notes, mark))
